"""How long each edit took somebody, in seconds of work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; of edits that are there nothing is known."""
    op.add_column("edits", sa.Column("active_s", sa.Float(), nullable=True))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("edits", "active_s")
