"""For the API pages: what `explainer.py` binds to its class with `_asks` is shown as the method that it is at run time."""

from typing import Any

import griffe


class BoundChecks(griffe.Extension):
    """Griffe reads the code without running it, and sees an attribute without a docstring there."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        module = pkg["explainer"]
        explainer = module["Explainer"]
        for name, member in list(explainer.members.items()):
            call = getattr(member, "value", None)
            if isinstance(call, griffe.ExprCall) and str(call.function) == "_asks":
                file, _, function = str(call.arguments[0]).partition(".")
                path = f"{module.resolve(file)}.{function}".removeprefix("pytest_gradcam.")
                explainer.set_member(name, _method(pkg[path], explainer))


def _method(function: griffe.Function, of: griffe.Class) -> griffe.Function:
    return griffe.Function(
        function.name,
        parameters=griffe.Parameters(griffe.Parameter("self"), *list(function.parameters)[1:]),
        returns=function.returns,
        docstring=function.docstring,
        lineno=function.lineno,
        endlineno=function.endlineno,
        parent=of,
    )
