"""How much of a gain the protocol makes: not in the paper, but in its released code.

``LR = 0.001 if not args.fixed and not args.cosine else 0.1``: under dot logits the frozen arm got a
hundred times the learning rate of the learned one, and the best epoch was chosen on the test set.
"""

from __future__ import annotations

from ..item import Claim, Content, Entry, Item, Option, Request
from .recipe import NAME, NOTES, by_rate, dot_cells, grid, published_dot, recipe
from .tables import place, test_accuracy


def learning_rates(request: Request) -> Content:
    """Fixed against non-fixed under four protocols, dot logits."""
    entries, claims = [], []
    for data, net in grid(request):
        where = place(data, net)
        protocols = {
            "fair: each arm's rate from one grid, on validation": (
                by_rate(request, data, net, "fixed"),
                by_rate(request, data, net, "non-fixed"),
            ),
            "one rate, 0.1; epoch on validation": (
                (Option("", dot_cells(request, data, net, "fixed", 0.1)),),
                (Option("", dot_cells(request, data, net, "non-fixed", 0.1)),),
            ),
            "as published: 0.1 against 0.001, epoch on test": (
                (Option("", published_dot(request, data, net, "fixed")),),
                (Option("", published_dot(request, data, net, "non-fixed")),),
            ),
            "released, but one rate, 0.1; epoch on test": (
                (Option("", published_dot(request, data, net, "fixed")),),
                (Option("", published_dot(request, data, net, "non-fixed", lr=0.1)),),
            ),
        }
        for words, options in protocols.items():
            fixed, learned = (
                Entry(f"{where}; {words}", arm, own, test_accuracy)
                for arm, own in zip(("fixed", "non-fixed"), options, strict=True)
            )
            entries += [fixed, learned]
            claims.append(Claim(f"{where}; {words}: fixed above non-fixed", fixed, learned))
        claims.append(
            Claim(
                f"{where}: the released rate holds the non-fixed arm back (0.1 above 0.001)",
                entries[-1],
                entries[-3],
            )
        )
    recipes = {place(data, net): recipe(request, data, net) for data, net in grid(request)}
    warning = (
        "Rows “epoch on test” choose the epoch on the test set, as the released code does: their "
        "accuracies are biased upwards."
    )
    short = (
        "In the small scale's few epochs a rate of 0.001 does not come far, so it costs the "
        "non-fixed arm more than it would over the paper's 80 epochs."
    )
    notes = (*NOTES, warning, *([short] if request.scale == "small" else []))
    return Content(entries, claims, recipes=recipes, notes=notes)


ITEMS = (
    Item(NAME, "learning-rates", "What the released code's unequal learning rates do",
         learning_rates),
)  # fmt: skip
