package rehearse

import (
	"maps"
	"slices"
)

// Code names a finding. Codes keep their meaning.
type Code string

const (
	// NoReaction: the stop signal changes nothing.
	NoReaction Code = "LC101"
	// TooSlow: the program reacts, and has not ended when its time is over.
	TooSlow Code = "LC102"
	// CutOff: requests were under way, and their connections ended without an answer.
	CutOff Code = "LC103"
	// RefusedEarly: connections were refused while clients were still sent to the program.
	RefusedEarly Code = "LC104"
	// ClosedUnderRequest: connections that clients keep are closed without notice, so that some are
	// closed under a request.
	ClosedUnderRequest Code = "LC105"
	// ExitCode: the program ends with a code other than 0.
	ExitCode Code = "LC106"
	// NoHandler: the signal ended the program, which has no handler for it.
	NoHandler Code = "LC107"
	// NotAnswered: requests were answered with a status of 500 or above, or not in time.
	NotAnswered Code = "LC108"
	// FailsBefore: requests failed before anything was stopped.
	FailsBefore Code = "LC109"
	// Tight: it ended in time with less than a tenth of the grace left.
	Tight Code = "LC110"
	// NotBack: the program is not ready again when it is started anew.
	NotBack Code = "LC121"
)

// meaning is what a code says.
type meaning struct {
	title, why, change string
	traffic            bool // it can be found only with clients
}

var meanings = map[Code]meaning{
	NoReaction: {
		title:  "does not react to the stop signal",
		why:    "Every deploy waits for the whole grace, and then kills the program with all that it was doing.",
		change: "Handle SIGTERM in the program itself: signal.Notify in Go, process.on('SIGTERM') in Node, signal.signal in Python. A shell does not pass signals on: start the program with exec, or use the JSON form of ENTRYPOINT. In a container there is no default action, since the program is PID 1.",
	},
	TooSlow: {
		title:  "has not ended when its time is over",
		why:    "It is killed: what it was doing is lost, and Kubernetes records the exit code 137.",
		change: "Give everything that waits a deadline, so that all of it together ends a second before terminationGracePeriodSeconds less the preStop hook; or give the pod a longer grace.",
	},
	CutOff: {
		title:   "cuts off requests that are under way",
		why:     "Clients see a reset or half an answer for work that may have been done.",
		change:  "Let the server answer what it has accepted before the program ends: in Go wait for http.Server.Shutdown to return before main returns.",
		traffic: true,
	},
	RefusedEarly: {
		title:   "refuses connections while clients are still sent to it",
		why:     "The endpoint is taken away while the signal is on its way, and everybody who connects in between gets an error.",
		change:  "Go on accepting for some seconds after the signal, or give the pod a preStop sleep of a few seconds.",
		traffic: true,
	},
	ClosedUnderRequest: {
		title:   "closes connections that clients keep, without notice",
		why:     "A client or a proxy that keeps its connection sends its next request into one that is being closed.",
		change:  "Answer with Connection: close once the signal has come, and close idle connections only after some seconds of that.",
		traffic: true,
	},
	ExitCode: {
		title:  "does not end with 0 after a stop",
		why:    "Kubernetes records a failure: a Job counts it, alerts see it, and the pod's phase is Failed.",
		change: "Exit with 0 when everything was ended as planned.",
	},
	NoHandler: {
		title:  "is ended by the stop signal itself",
		why:    "Nothing is finished, flushed or handed over.",
		change: "Handle SIGTERM: stop accepting, finish what is under way, then exit with 0.",
	},
	NotAnswered: {
		title:   "answers requests with errors while it is stopped",
		why:     "Clients are still sent to the program, and get errors from it.",
		change:  "Answer as before until the endpoint is gone; what readiness answers may change at once.",
		traffic: true,
	},
	FailsBefore: {
		title:   "fails requests before it is stopped",
		why:     "What clients meet during the stop cannot be told from what they meet anyway.",
		change:  "Give --http an address that answers at this rate, or a smaller --rate.",
		traffic: true,
	},
	Tight: {
		title:  "ends with hardly any time left",
		why:    "A little more load, and it is killed.",
		change: "Leave a second or a tenth of the grace, whichever is more.",
	},
	NotBack: {
		title:  "is not ready again when it is started anew",
		why:    "A container that was killed is started again with the volumes that it had: what the dead program has left there keeps the next one from starting.",
		change: "Let a start get over what is left of the one before: lock files by flock, which ends with its process, and not by a file that is there; remove a Unix socket before listening; repair or discard a file that is half written.",
	},
}

// Codes are all that there are, in order.
func Codes() []Code { return slices.Sorted(maps.Keys(meanings)) }

// Known reports whether there is such a code.
func (c Code) Known() bool { _, ok := meanings[c]; return ok }

// Title says in a few words what the program does.
func (c Code) Title() string { return meanings[c].title }

// Why says in a sentence or two why that matters.
func (c Code) Why() string { return meanings[c].why }

// Change says what to do.
func (c Code) Change() string { return meanings[c].change }
