"""What a language model is asked, and how its answer is read.

`question(form)` is what to send, `answer_schema(form)` constrains a JSON answer, `read_answer(text, form=, view=)`
reads what came back, `write_answer(...)` writes the text a model is trained to say. The `AnswerForm` says what is asked
for and in which `CoordinateSpace`; the `View` says what the model was shown.
"""

from deeptrace.prompts.answer import Answer, verdict_of_answer
from deeptrace.prompts.coordinates import SPACES, CoordinateSpace, View, coordinate_space
from deeptrace.prompts.judge import judge_prompt, read_judge_score
from deeptrace.prompts.parse import read_answer, verdict_of_text
from deeptrace.prompts.parse_times import TimeUnit, read_time, write_time
from deeptrace.prompts.render import plain_explanation, write_answer
from deeptrace.prompts.template import FINE_TUNING, JSON, ZERO_SHOT, AnswerForm, Style, answer_schema, question

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
    "judge_prompt",
    "plain_explanation",
    "question",
    "read_answer",
    "read_judge_score",
    "read_time",
    "verdict_of_answer",
    "verdict_of_text",
    "write_answer",
    "write_time",
]
