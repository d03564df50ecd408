"""The first schema: clips, verdicts, jobs, answers, annotations and their edits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "clips",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="queued", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("media", sa.JSON(), nullable=True),
        sa.Column("times_s", sa.JSON(), nullable=True),
        sa.Column("mime", sa.String(length=64), nullable=True),
        sa.Column("play", sa.String(length=16), nullable=True),
        sa.Column("play_note", sa.Text(), nullable=True),
        sa.Column("verdict_id", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("p_fake", sa.Float(), nullable=True),
        sa.Column("kinds", sa.Text(), server_default="", nullable=False),
        sa.Column("says", sa.String(length=16), nullable=True),
        sa.Column("answer_label", sa.String(length=8), nullable=True),
        sa.Column("traces", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clips")),
        sa.UniqueConstraint("path", name=op.f("uq_clips_path")),
    )
    op.create_index(op.f("ix_clips_decision"), "clips", ["decision"], unique=False)
    op.create_index(op.f("ix_clips_name"), "clips", ["name"], unique=False)
    op.create_index(op.f("ix_clips_outcome"), "clips", ["outcome"], unique=False)
    op.create_index(op.f("ix_clips_p_fake"), "clips", ["p_fake"], unique=False)
    op.create_index(op.f("ix_clips_says"), "clips", ["says"], unique=False)
    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("objects", sa.JSON(), nullable=False),
        sa.Column("imported_rows", sa.JSON(), nullable=True),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name=op.f("fk_annotations_clip_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
        sa.UniqueConstraint("clip_id", "author", name=op.f("uq_annotations_clip_id")),
    )
    op.create_table(
        "answers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        sa.Column("verdict_id", sa.Integer(), nullable=True),
        sa.Column("author", sa.String(length=128), nullable=False),
        sa.Column("said_at", sa.Float(), nullable=False),
        sa.Column("says", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=8), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name=op.f("fk_answers_clip_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answers")),
        sa.UniqueConstraint("client_id", name=op.f("uq_answers_client_id")),
    )
    op.create_index(op.f("ix_answers_clip_id"), "answers", ["clip_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="queued", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("leased_until", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name=op.f("fk_jobs_clip_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_clip_id"), "jobs", ["clip_id"], unique=False)
    op.create_index(op.f("ix_jobs_state"), "jobs", ["state"], unique=False)
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("clip_id", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("detector", sa.String(length=256), nullable=False),
        sa.Column("verdict", sa.JSON(), nullable=False),
        sa.Column("curves", sa.JSON(), nullable=False),
        sa.Column("has_heat", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["clip_id"], ["clips.id"], name=op.f("fk_verdicts_clip_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_clip_id"), "verdicts", ["clip_id"], unique=False)
    op.create_table(
        "edits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(length=128), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["annotation_id"], ["annotations.id"], name=op.f("fk_edits_annotation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_edits")),
        sa.UniqueConstraint("annotation_id", "version", name=op.f("uq_edits_annotation_id")),
        sa.UniqueConstraint("client_id", name=op.f("uq_edits_client_id")),
    )


def downgrade() -> None:
    """Remove all tables."""
    op.drop_table("edits")
    op.drop_index(op.f("ix_verdicts_clip_id"), table_name="verdicts")
    op.drop_table("verdicts")
    op.drop_index(op.f("ix_jobs_state"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_clip_id"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index(op.f("ix_answers_clip_id"), table_name="answers")
    op.drop_table("answers")
    op.drop_table("annotations")
    op.drop_index(op.f("ix_clips_says"), table_name="clips")
    op.drop_index(op.f("ix_clips_p_fake"), table_name="clips")
    op.drop_index(op.f("ix_clips_outcome"), table_name="clips")
    op.drop_index(op.f("ix_clips_name"), table_name="clips")
    op.drop_index(op.f("ix_clips_decision"), table_name="clips")
    op.drop_table("clips")
