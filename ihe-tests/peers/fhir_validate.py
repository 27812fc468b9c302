"""Says of each FHIR resource whether it is valid: JSON Lines on standard input, a line for each on standard output.

Two judges: the JSON schema of FHIR R4, when its path is the first argument, and the models of fhir.resources
(its R4B package, the nearest to R4 that it has).
"""

import json
import sys


def main():
    try:
        import fhir.resources.R4B
        import jsonschema
    except ImportError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return 3
    schema = None
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as file:
            schema = json.load(file)
        # The schema was printed before the technical correction that R4 is known by, 4.0.1.
        versions = schema["definitions"]["CapabilityStatement"]["properties"]["fhirVersion"]["enum"]
        if "4.0.1" not in versions:
            versions.append("4.0.1")
    judges = {}
    for line in sys.stdin:
        resource = json.loads(line)
        kind = resource["resourceType"]
        try:
            if schema is not None:
                if kind not in judges:
                    part = {"$ref": f"#/definitions/{kind}", "definitions": schema["definitions"]}
                    judges[kind] = jsonschema.Draft6Validator(part)
                error = jsonschema.exceptions.best_match(judges[kind].iter_errors(resource))
                if error is not None:
                    path = "/".join(str(step) for step in error.absolute_path)
                    raise ValueError(f"schema: at {path}: {error.message}")
            fhir.resources.R4B.get_fhir_model_class(kind).model_validate(resource)
            print("ok")
        except Exception as error:  # every kind of complaint is the answer
            print(f"{kind}: {error}".replace("\n", " "))
    return 0


sys.exit(main())
