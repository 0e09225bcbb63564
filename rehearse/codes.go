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
	// StreamCut: a stream ended in the middle.
	StreamCut Code = "LC141"
	// NoCloseFrame: a WebSocket ended without having been closed.
	NoCloseFrame Code = "LC142"
	// NoGoAway: connections of HTTP/2 are closed without a GOAWAY.
	NoGoAway Code = "LC143"
	// AnswersLate: answers take much longer while the program stops than before.
	AnswersLate Code = "LC144"
	// Resets: connections of TCP were reset and not closed.
	Resets Code = "LC145"
)

// meaning is what a code says.
type meaning struct {
	title, why, change string
	traffic            bool   // it can be found only with clients
	client             client // and of these only with such a one, if it is not empty
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
	StreamCut: {
		title:   "cuts off streams",
		why:     "The client sees an error in the middle of an answer, and cannot tell a deploy from a broken network.",
		change:  "End each stream when the signal has come: return from its handler, so that its protocol says that it has ended, and the client asks elsewhere for the rest. In Go http.Server.Shutdown neither ends a handler nor waits for a hijacked connection: cancel a context of your own from RegisterOnShutdown.",
		traffic: true, client: stream,
	},
	NoCloseFrame: {
		title:   "ends WebSockets without a close frame",
		why:     "The client sees 1006, an abnormal end, and does not know which of its messages have come.",
		change:  "Send a close frame with 1001 or 1012 on each WebSocket when the signal has come, and wait a second for the answers before the program ends. No server does that by itself: it has handed the connection over.",
		traffic: true, client: webSocket,
	},
	NoGoAway: {
		title:   "closes connections of HTTP/2 without a GOAWAY",
		why:     "A client does not know which of its requests were taken, and cannot send the others to another server.",
		change:  "Let the server end gracefully: http.Server.Shutdown in Go, GracefulStop in gRPC, server.close and then session.close of each session in Node.",
		traffic: true, client: keptHTTP2,
	},
	AnswersLate: {
		title:   "answers late while it is stopped",
		why:     "Clients are still sent to the program, and give up or ask twice.",
		change:  "Keep what answers requests, such as pools of workers and connections to a database, until the last request is answered.",
		traffic: true,
	},
	Resets: {
		title:   "resets connections that are open",
		why:     "What was under way to the client is thrown away with the connection.",
		change:  "Close connections before the program ends, after having read what has come, and without SO_LINGER of 0.",
		traffic: true, client: openConnection,
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
