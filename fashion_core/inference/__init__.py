"""What saved models say of images: answers, submissions, explanations, ONNX files."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.inference.answer_file import AnswerFile
    from fashion_core.inference.answers import Answer
    from fashion_core.inference.boxes import BoxTable, load_boxes
    from fashion_core.inference.explain import draw_explanation, explain_views
    from fashion_core.inference.onnx import OnnxModel, export_onnx
    from fashion_core.inference.predictor import (
        Question,
        answer_each,
        answer_questions,
        predict_images,
        read_box,
        read_views,
    )
    from fashion_core.inference.submission import write_submission
    from fashion_core.inference.temperatures import apply_temperatures, load_temperatures

__all__ = [
    "Answer",
    "AnswerFile",
    "BoxTable",
    "OnnxModel",
    "Question",
    "answer_each",
    "answer_questions",
    "apply_temperatures",
    "draw_explanation",
    "explain_views",
    "export_onnx",
    "load_boxes",
    "load_temperatures",
    "predict_images",
    "read_box",
    "read_views",
    "write_submission",
]
__getattr__ = attach(
    __name__,
    {
        "answer_file": ["AnswerFile"],
        "answers": ["Answer"],
        "boxes": ["BoxTable", "load_boxes"],
        "explain": ["draw_explanation", "explain_views"],
        "onnx": ["OnnxModel", "export_onnx"],
        "predictor": ["Question", "answer_each", "answer_questions", "predict_images", "read_box", "read_views"],
        "submission": ["write_submission"],
        "temperatures": ["apply_temperatures", "load_temperatures"],
    },
)
