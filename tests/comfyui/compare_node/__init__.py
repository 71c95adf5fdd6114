"""A custom node for tests: says what two loaded models are, and whether they are the same."""

import json

import torch

NETWORKS = ("first_stage_model", "cond_stage_model", "control_model", "t2i_model", "model", "patcher")


def network(value):
    """The network within what a loader gives."""
    while value is not None and not isinstance(value, torch.nn.Module):
        value = next((found for name in NETWORKS if (found := getattr(value, name, None)) is not None), None)
    return value


def patches(value):
    """What changes a model: of LoRAs the strengths and weights, of others their class."""
    patcher = getattr(value, "patcher", value)
    found = {}
    for key, changes in getattr(patcher, "patches", {}).items():
        found[key] = [
            (
                one[0],
                one[2],
                [float(weight.sum()) for weight in getattr(one[1], "weights", ()) if hasattr(weight, "sum")],
            )
            for one in changes
        ]
    options = getattr(patcher, "model_options", {}).get("transformer_options", {}).get("patches", {})
    for place, functions in options.items():
        found[place] = [
            (type(one).__name__, getattr(one, "strength", None), sorted(getattr(one, "hypernet", {})))
            for one in functions
        ]
    return found


def is_of_file(key, tensor, written):
    """Whether a tensor of a network came from a file with these names and shapes; others are not set."""
    return any(
        list(tensor.shape) == shape and (key.endswith(name) or name.endswith(key))
        for name, shape in written.items()
    )


class CompareModels:
    CATEGORY = "tests"
    FUNCTION = "compare"
    RETURN_TYPES = ()
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"theirs": ("*",), "ours": ("*",), "written": ("STRING",)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        return True

    def compare(self, theirs, ours, written):
        networks = [network(theirs), network(ours)]
        states = [{} if one is None else one.state_dict() for one in networks]
        common = states[0].keys() & states[1].keys()
        read = [key for key in common if is_of_file(key, states[0][key], json.loads(written))]
        answer = {
            "types": [[type(value).__name__, type(network(value)).__name__] for value in (theirs, ours)],
            "keys": [len(state) for state in states],
            "shapes": all(states[0][key].shape == states[1][key].shape for key in common),
            "common": len(common),
            "read": len(read),
            "same": sum(torch.equal(states[0][key].float(), states[1][key].float()) for key in read),
            "patches": [patches(theirs), patches(ours)],
        }
        return {"ui": {"text": [json.dumps(answer)]}}


NODE_CLASS_MAPPINGS = {"CompareModels": CompareModels}
