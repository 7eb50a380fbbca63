# METADATA
# title: The one entry point
# description: |
#   Collects what every rule says. Which finding denies, and who may waive it, is not settled here:
#   Interlock does that outside Rego, and refuses an answer of any other shape.
# schemas:
#   - input: schema.input
package interlock.main

import rego.v1

decision := {
	"schema": "interlock.policy.decision/v1",
	"input_digest": input.digest,
	"rules": {name | data.interlock.rules[name]},
	"findings": {object.union(entry, {"rule": name}) |
		entry := data.interlock.rules[name].deny[_]
	},
	"approvals": {object.union(entry, {"rule": name}) |
		entry := data.interlock.rules[name].require_approval[_]
	},
	"constraints": {object.union(entry, {"rule": name}) |
		entry := data.interlock.rules[name].constrain[_]
	},
}
