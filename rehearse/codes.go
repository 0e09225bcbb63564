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
	// HookFails: a preStop hook fails.
	HookFails Code = "LC111"
	// HookOverruns: a preStop hook takes the whole grace.
	HookOverruns Code = "LC112"
	// StaysReady: the readiness probe says yes for as long as the program can be reached.
	StaysReady Code = "LC113"
	// DeadWhileStopping: the liveness probe says no while the program is being stopped.
	DeadWhileStopping Code = "LC114"
	// NotAlive: a liveness probe fails when nothing is stopped.
	NotAlive Code = "LC115"
	// StartsTooSlowly: a startup or liveness probe gives up before the program is ready.
	StartsTooSlowly Code = "LC116"
	// LosesReadiness: a readiness probe fails when nothing is stopped.
	LosesReadiness Code = "LC117"
	// SidecarGone: a sidecar ends before the program.
	SidecarGone Code = "LC118"
	// SidecarKilled: a sidecar has not ended when its time is over.
	SidecarKilled Code = "LC119"
	// NotBack: the program is not ready again when it is started anew.
	NotBack Code = "LC121"
	// LostEarly: a stop signal that comes while the program starts is lost.
	LostEarly Code = "LC122"
	// BreaksTwice: the program crashes when the stop signal comes twice.
	BreaksTwice Code = "LC123"
	// OutputBlocks: the program does not end when nobody reads its output.
	OutputBlocks Code = "LC124"
	// NotBeside: the program is not ready beside a copy of itself.
	NotBeside Code = "LC125"
	// DisturbsCopy: copies of the program disturb each other when one starts or ends.
	DisturbsCopy Code = "LC126"
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
	// needs says whether it can be found with a configuration, nil if with every one.
	needs func(*Config) bool
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
	HookFails: {
		title:  "has a preStop hook that fails",
		why:    "The stop signal comes at once, without the delay that the hook was to give; Kubernetes tells it in an event, FailedPreStopHook, and goes on.",
		change: "Let the hook do what its container can: an image without a shell has no sleep, for which lifecycle.preStop.sleep is there. A path or a port of httpGet must be the program's own.",
		needs:  func(c *Config) bool { return c.any(hasHook) },
	},
	HookOverruns: {
		title:  "has a preStop hook that takes the whole grace",
		why:    "Hook and program share one grace: two seconds are left for the program, and then it is killed.",
		change: "Set terminationGracePeriodSeconds to the time of the hook, the time that the program takes and a second more; or give the hook less to do.",
		needs:  func(c *Config) bool { return c.any(hasHook) },
	},
	StaysReady: {
		title:  "says that it is ready until it has closed its port",
		why:    "Kubernetes takes the endpoint of a deleted pod away by itself. Where no other pod is ready it goes on sending clients to this one as long as readiness says yes, and so does a load balancer that asks for itself.",
		change: "Let readiness say no from the stop signal on, and go on serving for as long as that takes to be noticed.",
		needs:  func(c *Config) bool { return c.Program.Readiness != nil && c.Program.Readiness.TCP == 0 },
	},
	DeadWhileStopping: {
		title:  "fails its liveness probe while it is stopped",
		why:    "The kubelet asks no more once it stops a pod. In a stop that it has not begun, as by a signal from a person or a fault that the program has found, it takes the program for dead and kills it in its work.",
		change: "Let liveness say yes until the end, and readiness alone say no: two paths, or two answers.",
		needs:  func(c *Config) bool { return c.Program.Liveness != nil && c.Program.Liveness.TCP == 0 },
	},
	NotAlive: {
		title:  "fails its liveness probe when nothing is wrong",
		why:    "The kubelet stops the container and starts it again, whatever it was doing.",
		change: "Let liveness ask whether the process can answer at all, and not what it depends on; give it a timeout and a threshold that a busy moment does not reach.",
		needs:  func(c *Config) bool { return c.any(func(one *Container) bool { return one.Liveness != nil }) },
	},
	StartsTooSlowly: {
		title:  "is given up by a probe before it is ready",
		why:    "The kubelet stops the container and starts it again, and it is no quicker then.",
		change: "Give it a startupProbe with failureThreshold times periodSeconds of more than the slowest start, and no liveness before.",
		needs:  func(c *Config) bool { return c.any(mustStart) },
	},
	LosesReadiness: {
		title:  "fails its readiness probe when nothing is stopped",
		why:    "Its endpoint is taken away, and what it did goes to the other pods, which may follow.",
		change: "Give readiness a timeout and a threshold that a busy moment does not reach.",
		needs:  func(c *Config) bool { return c.any(hasReadiness) },
	},
	SidecarGone: {
		title:  "is left by a sidecar before it has ended",
		why:    "What the sidecar is for, as a proxy or the shipping of logs, is missing when the program finishes its work.",
		change: "Let the sidecar end at its stop signal, which comes when the program has ended, and not by a preStop hook: hooks of sidecars run at the beginning of the stop.",
		needs:  func(c *Config) bool { return len(c.Sidecars) > 0 },
	},
	SidecarKilled: {
		title:  "has a sidecar that does not end at its stop signal",
		why:    "The pod stays until the sidecar is killed, and a rollout waits for it.",
		change: "Handle the stop signal in the sidecar: it comes when the program has ended, with what is left of the grace, and two seconds at least.",
		needs:  func(c *Config) bool { return len(c.Sidecars) > 0 },
	},
	NotBack: {
		title:  "is not ready again when it is started anew",
		why:    "A container that was killed is started again with the volumes that it had: what the dead program has left there keeps the next one from starting.",
		change: "Let a start get over what is left of the one before: lock files by flock, which ends with its process, and not by a file that is there; remove a Unix socket before listening; repair or discard a file that is half written.",
	},
	LostEarly: {
		title:  "loses a stop signal that comes while it starts",
		why:    "A rollout that is undone, or a node that is drained, deletes pods that are not ready yet: each of them then runs on for its whole grace.",
		change: "Handle the signal first, before anything that takes long, and look at it between the parts of the start. A script that waits for something as PID 1 needs a trap: trap 'exit 143' TERM, with sleep in the background and wait. Or give the container an init.",
	},
	BreaksTwice: {
		title:  "crashes when the stop signal comes twice",
		why:    "The kubelet sends it once, but people, docker stop and systemd may send it again: what was being finished is lost.",
		change: "Let the second signal change nothing, or end the program at once in order. In Go a channel must not be closed twice: use sync.Once, or a context.",
	},
	OutputBlocks: {
		title:  "does not end when nobody reads its output",
		why:    "A log driver that hangs makes every write wait, and with it the stop: the program is killed.",
		change: "Write logs in a goroutine or thread of their own that drops what cannot be written in time, and let the end not wait for it.",
	},
	NotBeside: {
		title:   "does not become ready beside a copy of itself",
		why:     "A rollout starts the new pod before it deletes the old one: it waits for ever, with an error only at its deadline.",
		change:  "Let several copies run at once: no lock, no file and no port of the machine that one alone can have. Where that cannot be, the Deployment needs the strategy Recreate, and has an outage in every rollout.",
		traffic: true,
	},
	DisturbsCopy: {
		title:   "disturbs a copy of itself when one starts or ends",
		why:     "In every rollout two copies run at once: what the one takes away or overwrites, the other needs.",
		change:  "Give each copy files, sockets and rows of its own, and let the end remove nothing that is not its own.",
		traffic: true,
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
