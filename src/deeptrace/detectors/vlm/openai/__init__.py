"""`openai:MODEL[@URL]`: OpenAI, Gemini's compatible endpoint, vLLM, SGLang, LM Studio and whatever speaks the same.

    deeptrace detect clip.mp4 --detector openai:gpt-4.1
    deeptrace detect clip.mp4 --detector openai:Qwen/Qwen2.5-VL-7B-Instruct@http://localhost:8000/v1

`client` is also what the judge of explanations asks with.
"""

from deeptrace.detectors.vlm.openai.detector import ServedModel, ServedPlanner, load, load_planner
from deeptrace.detectors.vlm.openai.settings import Options
from deeptrace.net.background import run_blocking
from deeptrace.net.chat_client import ChatClient, Completion, HttpStatusError, Manners
from deeptrace.net.endpoint import Endpoint, open_endpoint

__all__ = [
    "ChatClient",
    "Completion",
    "Endpoint",
    "HttpStatusError",
    "Manners",
    "Options",
    "ServedModel",
    "ServedPlanner",
    "load",
    "load_planner",
    "open_endpoint",
    "run_blocking",
]
