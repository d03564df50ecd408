"""Accounts: people, their sessions, and the log of what they did; what each annotation comes to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of accounts."""
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("name", name=op.f("uq_people_name")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_sessions_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token", name=op.f("uq_sessions_token")),
    )
    op.create_index(op.f("ix_sessions_person_id"), "sessions", ["person_id"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("did", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.add_column("annotations", sa.Column("traces", sa.Integer(), server_default="0", nullable=False))
    op.add_column("annotations", sa.Column("done", sa.Boolean(), server_default=sa.false(), nullable=False))
    annotations = sa.table(
        "annotations",
        sa.column("id", sa.Integer),
        sa.column("objects", sa.JSON),
        sa.column("traces", sa.Integer),
        sa.column("done", sa.Boolean),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(annotations.c.id, annotations.c.objects)).all():
        traces = sum(value["type"] == "trace" for value in row.objects.values())
        done = bool(row.objects.get("clip", {}).get("done"))
        this = sa.update(annotations).where(annotations.c.id == row.id)
        connection.execute(this.values(traces=traces, done=done))


def downgrade() -> None:
    """Remove them, and with them everybody's account."""
    op.drop_column("annotations", "done")
    op.drop_column("annotations", "traces")
    op.drop_table("audit")
    op.drop_index(op.f("ix_sessions_person_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("people")
