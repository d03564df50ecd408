"""Projects: what a group of assigned clips has in common, and which of them have a known answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of projects; assignments may belong to one."""
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("guidelines", sa.Text(), server_default="", nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("prefilled_percent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "honeypots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name=op.f("fk_honeypots_clip_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_honeypots_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_honeypots")),
        sa.UniqueConstraint("clip_id", name=op.f("uq_honeypots_clip_id")),
    )
    op.create_index(op.f("ix_honeypots_project_id"), "honeypots", ["project_id"], unique=False)
    with op.batch_alter_table("assignments") as table:
        table.add_column(sa.Column("project_id", sa.Integer(), nullable=True))
        table.add_column(sa.Column("prefilled", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.add_column(sa.Column("honeypot", sa.Boolean(), server_default=sa.false(), nullable=False))
        table.create_foreign_key(op.f("fk_assignments_project_id"), "projects", ["project_id"], ["id"])


def downgrade() -> None:
    """Remove them, and what was assigned as a honeypot; other clips stay assigned."""
    op.execute("DELETE FROM assignments WHERE honeypot")
    with op.batch_alter_table("assignments") as table:
        table.drop_constraint(op.f("fk_assignments_project_id"), type_="foreignkey")
        table.drop_column("honeypot")
        table.drop_column("prefilled")
        table.drop_column("project_id")
    op.drop_index(op.f("ix_honeypots_project_id"), table_name="honeypots")
    op.drop_table("honeypots")
    op.drop_table("projects")
