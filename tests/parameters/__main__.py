"""Write what is generated from the declarations: `python -m tests.parameters`."""

from tests.parameters import generated

for path, text in generated.files().items():
    path.write_text(text, encoding="utf-8")
