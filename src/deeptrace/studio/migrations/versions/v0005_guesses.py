"""Wrong passwords, counted in the database, so that several servers of one studio count together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "guesses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("whose", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guesses")),
    )
    op.create_index(op.f("ix_guesses_whose"), "guesses", ["whose"], unique=False)


def downgrade() -> None:
    """Remove it; what was guessed within the hour is forgotten."""
    op.drop_index(op.f("ix_guesses_whose"), table_name="guesses")
    op.drop_table("guesses")
