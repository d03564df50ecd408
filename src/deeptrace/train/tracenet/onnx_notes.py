"""What torch's exporter writes into ONNX files beside the model."""

from __future__ import annotations

__all__ = ["without_notes"]


def without_notes(weights: bytes) -> bytes:
    """The model without the exporter's notes: where each node came from, with paths of the machine it was made on."""
    import onnx

    model = onnx.load_model_from_string(weights)
    for part in (model.graph, *model.functions):
        for item in (part, *part.node):
            item.doc_string = ""
            del item.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.metadata_props[:]
    return bytes(model.SerializeToString())
