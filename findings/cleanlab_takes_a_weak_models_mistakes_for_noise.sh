#!/usr/bin/env bash
# cleanlab's estimate of label noise takes the mistakes of a weak model for wrong labels.
#
# One would think: given out-of-sample probabilities, the joint of given and true labels that
# confident learning estimates shows little noise where labels are right; its thresholds are made to
# bear with models that are not sure.
# What is: the share grows with the model's errors. Digits with labels as they are, logistic
# regression by five-fold cross-validation on 3 or 6 of the 64 pixels or on all: where the model errs in
# 54%, 30% and 8%, cleanlab says that 53%, 25% and 2% of the labels are wrong, and find_label_issues
# names 43%, 21% and 2%. No warning is given.
# Seen with cleanlab 2.9.0, scikit-learn 1.8.0.
# Here: crest.label_noise asks whether noise makes the labels likelier than mistakes alone do.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq cleanlab==2.9.0 scikit-learn==1.8.0
cd "$folder"
"$folder/venv/bin/python" - 2> log <<'PYTHON' || { tail -20 log; exit 1; }
import warnings

import numpy as np
from cleanlab.count import estimate_joint
from cleanlab.filter import find_label_issues
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

images, labels = load_digits(return_X_y=True)
order = np.argsort(-images.var(0))
said = []
for pixels in (3, 6, 64):
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    some = images[:, order[:pixels]]
    given = cross_val_predict(model, some, labels, cv=5, method="predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise = 1 - np.trace(estimate_joint(labels, given))
        named = find_label_issues(labels, given, n_jobs=1).mean()
    errors = (given.argmax(1) != labels).mean()
    print(f"{pixels} pixels: the model errs in {errors:.2f}; noise {noise:.2f}, named {named:.2f}")
    said.append((errors, noise, named))
errors, noise, named = zip(*said)
assert noise[0] > 0.5 * errors[0] and noise[1] > 0.5 * errors[1], said
assert named[0] > 0.3 and named[2] < 0.05, said
PYTHON
