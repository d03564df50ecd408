"""What a language model is asked, and how its answer is read.

`question(form)` is what to send, `answer_schema(form)` constrains a JSON answer, `read_answer(text, form=, view=)`
reads what came back, `write_answer(...)` writes the text a model is trained to say. The `AnswerForm` says what is asked
for and in which `CoordinateSpace`; the `View` says what the model was shown.
"""

from deeptrace.protocol.answer import Answer, verdict_of_answer
from deeptrace.protocol.form import FINE_TUNING, JSON, ZERO_SHOT, AnswerForm, Style, answer_schema, question
from deeptrace.protocol.judge import judge_prompt, read_judge_score
from deeptrace.protocol.predictions import join_predictions, read_predictions, verdict_of_row, views_of
from deeptrace.protocol.read import read_answer, verdict_of_text
from deeptrace.protocol.spaces import SPACES, CoordinateSpace, View, coordinate_space
from deeptrace.protocol.times import TimeUnit, read_time, write_time
from deeptrace.protocol.write import plain_explanation, write_answer

__all__ = [
    "FINE_TUNING",
    "JSON",
    "SPACES",
    "ZERO_SHOT",
    "Answer",
    "AnswerForm",
    "CoordinateSpace",
    "Style",
    "TimeUnit",
    "View",
    "answer_schema",
    "coordinate_space",
    "join_predictions",
    "judge_prompt",
    "plain_explanation",
    "question",
    "read_answer",
    "read_judge_score",
    "read_predictions",
    "read_time",
    "verdict_of_answer",
    "verdict_of_row",
    "verdict_of_text",
    "views_of",
    "write_answer",
    "write_time",
]
