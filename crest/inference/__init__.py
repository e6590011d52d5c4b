"""Forward passes in eval mode: outputs of examples, evaluation."""
