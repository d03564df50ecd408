"""Requests of each account and address in a minute, counted; whether a project has explanations standardised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table, and the column."""
    op.create_table(
        "requests",
        sa.Column("whose", sa.String(length=128), nullable=False),
        sa.Column("window", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("whose", "window", name=op.f("pk_requests")),
    )
    op.add_column("projects", sa.Column("wording", sa.Boolean(), server_default=sa.true(), nullable=False))


def downgrade() -> None:
    """Remove both."""
    op.drop_column("projects", "wording")
    op.drop_table("requests")
