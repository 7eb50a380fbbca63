# METADATA
# title: Change window
# description: |
#   A plan has a window where one is demanded, fits into what is left of it with its way back, and
#   begins nothing after the last instant at which a rollback would still end inside it.
# scope: package
# schemas:
#   - input: schema.input
# custom:
#   severity: high
#   findings:
#     unset:
#       level: hard
#       satisfy: "Say in data.yaml what holds in this environment; nothing is assumed."
#     missing:
#       level: hard
#       satisfy: "Add `window:` with a start and an end to the ticket."
#     too_long:
#       level: soft
#       satisfy: "Narrow the window to the time that the change needs."
#     closed:
#       level: hard
#       satisfy: "Start the run inside its window, or move the window."
#     too_late:
#       level: hard
#       satisfy: "Move the window, or cut the plan into smaller ones."
package interlock.rules.change_window

import rego.v1

env := input.environment.name

rules := data.params.change_window[env]

window := input.ticket.window

complete if {
	is_boolean(rules.required)
	is_boolean(rules.stop_at_last_safe_abort)
	is_number(rules.longest_minutes)
}

deny contains {"id": "change_window.unset", "subject": "plan", "msg": msg} if {
	not complete
	msg := concat("", ["data.yaml says nothing whole about change_window for ", env])
}

deny contains {"id": "change_window.missing", "subject": "plan", "msg": msg, "edit": "add `window:` to the ticket"} if {
	rules.required == true
	window == null
	msg := concat("", ["the ticket names no window; ", env, " demands one"])
}

deny contains {"id": "change_window.too_long", "subject": "plan", "msg": msg} if {
	minutes := (window.end.epoch_s - window.start.epoch_s) / 60
	minutes > rules.longest_minutes
	msg := concat("", ["the window is longer than the ", format_int(rules.longest_minutes, 10), " minutes that ", env, " allows"])
}

deny contains {"id": "change_window.closed", "subject": "plan", "msg": "the window is not open now"} if {
	input.mode == "apply"
	not open
}

open if window == null

open if {
	window.start.epoch_s <= input.now.epoch_s
	input.now.epoch_s < window.end.epoch_s
}

# What is left of the window when the change begins: now, or when the window opens.
left_s := window.end.epoch_s - window.start.epoch_s if input.now.epoch_s <= window.start.epoch_s

left_s := window.end.epoch_s - input.now.epoch_s if input.now.epoch_s > window.start.epoch_s

deny contains {"id": "change_window.too_late", "subject": "plan", "msg": msg} if {
	input.mode != "rollback"
	needed_s := input.plan.forward_s + input.plan.rollback_s
	left_s < needed_s
	needed := format_int(needed_s, 10)
	msg := concat("", [format_int(left_s, 10), " s of the window are left; with its way back the plan needs ", needed, " s"])
}

constrain contains {"id": "change_window.end", "subject": "plan", "kind": "not_after", "value": value, "msg": msg} if {
	value := window.end.epoch_s
	msg := "nothing forward begins after the window"
}

constrain contains {"id": "change_window.last_safe_abort", "subject": "plan", "kind": "not_after", "value": value, "msg": msg} if {
	rules.stop_at_last_safe_abort == true
	value := input.plan.last_safe_abort_s
	is_number(value)
	msg := "after this a rollback may no longer end inside the window"
}
