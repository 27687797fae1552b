"""The scikit-learn classifier: scikit-learn's own checks, and its answers beside its rivals'."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fixhead
from fixhead.sklearn import FixedHeadClassifier, _autograd_pass, _matrix_pass, head_for_features


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=0.4, random_state=0, stratify=y)


@parametrize_with_checks([FixedHeadClassifier(max_iter=60)])
def test_it_is_a_classifier_by_the_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some checks fit too few steps on purpose
        check(estimator)


def test_the_automatic_head_is_logistic_regression_in_other_coordinates(digits):
    X, _, y, _ = digits
    ours = FixedHeadClassifier(C=0.3, tol=1e-6, max_iter=2000).fit(X, y)
    theirs = LogisticRegression(C=0.3, tol=1e-8, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=2e-3)
    np.testing.assert_allclose(
        ours.decision_function(X) - ours.decision_function(X).mean(axis=1, keepdims=True),
        theirs.decision_function(X) - theirs.decision_function(X).mean(axis=1, keepdims=True),
        atol=2e-2,
    )


def test_its_figures_do_not_depend_on_where_the_features_lie(digits):
    X, other, y, _ = digits
    one = FixedHeadClassifier(C=1.0, tol=1e-6, max_iter=1000).fit(X, y)
    moved = FixedHeadClassifier(C=1.0, tol=1e-6, max_iter=1000).fit(X + 50, y)
    np.testing.assert_allclose(one.predict_proba(other), moved.predict_proba(other + 50), atol=2e-3)


def test_the_pass_by_hand_is_that_of_autograd(digits):
    X, _, y, _ = digits
    draws = torch.Generator().manual_seed(0)
    arguments = head_for_features("vectors=random,logits=dot,scale=3", 64, 10).arguments()
    head = fixhead.ClassificationHead(64, 10, generator=draws, dtype=torch.float64, **arguments)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    slow = _autograd_pass(head, rows, labels)
    expected = [one.grad.clone() for one in (head.neck.weight, head.neck.bias)]
    assert _matrix_pass(head, head.neck, rows, labels) == pytest.approx(slow, rel=1e-12)
    for one, grad in zip((head.neck.weight, head.neck.bias), expected, strict=True):
        torch.testing.assert_close(one.grad, grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "head",
    ["auto", "simplex@5", "learned-cosine@5"],
)
def test_heads_by_name_learn_digits(head, digits):
    X, X_test, y, y_test = digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = FixedHeadClassifier(head, max_iter=60).fit(X, y)
    assert found.score(X_test, y_test) > 0.93


def test_it_works_in_a_pipeline_a_grid_and_cross_validation(digits):
    X, _, y, _ = digits
    words = np.asarray([f"digit {label}" for label in y])
    pipe = make_pipeline(StandardScaler(), FixedHeadClassifier(C=0.1))
    assert cross_val_score(pipe, X, words, cv=3).mean() > 0.93
    grid = GridSearchCV(pipe, {"fixedheadclassifier__C": [0.01, 0.1]}, cv=2).fit(X, words)
    assert grid.best_estimator_.predict(X[:3]).dtype == words.dtype
    assert grid.best_score_ > 0.93


def test_the_fitted_head_is_one_of_fixhead_and_its_vectors_stay(digits):
    X, _, y, _ = digits
    found = FixedHeadClassifier(C=0.1).fit(X, y)
    assert isinstance(found.head_, fixhead.ClassificationHead)
    cosines = found.head_.vectors @ found.head_.vectors.T
    simplex = torch.eye(10, dtype=torch.float64) * 10 / 9 - 1 / 9
    torch.testing.assert_close(cosines, simplex, rtol=0, atol=1e-6)
    logits = found.head_(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(found.decision_function(X), logits, rtol=1e-10)


def test_two_fits_are_the_same_to_the_bit(digits):
    X, _, y, _ = digits
    one, other = (
        FixedHeadClassifier("random-dot", C=0.1, random_state=3).fit(X, y) for _ in range(2)
    )
    np.testing.assert_array_equal(one.decision_function(X), other.decision_function(X))


def test_too_few_steps_are_said(digits):
    X, _, y, _ = digits
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        assert FixedHeadClassifier(max_iter=3).fit(X, y).n_iter_ == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"C": 0}, "C must be above 0"),
        ({"C": float("nan")}, "C must be above 0"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": 0}, "tol"),
        ({"head": "no-such-head"}, "no-such-head"),
    ],
)
def test_what_cannot_be_fitted_is_refused(arguments, words, digits):
    X, _, y, _ = digits
    with pytest.raises(fixhead.RequestError, match=words):
        FixedHeadClassifier(**arguments).fit(X, y)


def test_without_scikit_learn_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import fixhead\n"
        "try: import fixhead.sklearn\n"
        "except fixhead.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sklearn is needed here" in done.stdout
    assert 'pip install "fixhead[lab]"' in done.stdout
