package rehearse

import (
	"maps"
	"slices"
)

// Code identifies a kind of finding. The meaning of a code never changes.
type Code string

const (
	// NoReaction: the stop signal changes nothing.
	NoReaction Code = "LC101"
	// TooSlow: the program reacts to the signal, but has not exited when its time is up.
	TooSlow Code = "LC102"
	// CutOff: the connections of in-flight requests ended without an answer.
	CutOff Code = "LC103"
	// RefusedEarly: connections were refused while clients were still routed to the program.
	RefusedEarly Code = "LC104"
	// ClosedUnderRequest: keep-alive connections are closed without notice, so that some are closed
	// while a request is being sent.
	ClosedUnderRequest Code = "LC105"
	// ExitCode: the program exits with a code other than 0.
	ExitCode Code = "LC106"
	// NoHandler: the program has no handler for the signal, which terminated it.
	NoHandler Code = "LC107"
	// NotAnswered: requests were answered with a status of 500 or above, or not in time.
	NotAnswered Code = "LC108"
	// FailsBefore: requests failed before anything was stopped.
	FailsBefore Code = "LC109"
	// Tight: the program exited in time, but had less left than a second and less than a tenth of its
	// time.
	Tight Code = "LC110"
	// HookFails: a preStop hook fails.
	HookFails Code = "LC111"
	// HookOverruns: a preStop hook uses up the grace period.
	HookOverruns Code = "LC112"
	// StaysReady: the readiness probe passes for as long as the program can be reached.
	StaysReady Code = "LC113"
	// DeadWhileStopping: the liveness probe fails while the program is being stopped.
	DeadWhileStopping Code = "LC114"
	// NotAlive: a liveness probe fails when nothing is being stopped.
	NotAlive Code = "LC115"
	// StartsTooSlowly: a startup or liveness probe fails for good before the program is ready.
	StartsTooSlowly Code = "LC116"
	// LosesReadiness: a readiness probe fails when nothing is being stopped.
	LosesReadiness Code = "LC117"
	// SidecarGone: a sidecar exits before the program.
	SidecarGone Code = "LC118"
	// SidecarKilled: a sidecar has not exited when its time is up.
	SidecarKilled Code = "LC119"
	// NotBack: the program does not become ready again after a restart.
	NotBack Code = "LC121"
	// LostEarly: a stop signal that arrives during startup has no effect.
	LostEarly Code = "LC122"
	// BreaksTwice: the program crashes on a second stop signal.
	BreaksTwice Code = "LC123"
	// OutputBlocks: the program does not exit when nobody reads its output.
	OutputBlocks Code = "LC124"
	// NotBeside: the program does not become ready alongside a copy of itself.
	NotBeside Code = "LC125"
	// DisturbsCopy: copies of the program disturb each other when one of them starts or exits.
	DisturbsCopy Code = "LC126"
	// StreamCut: a stream ended in the middle.
	StreamCut Code = "LC141"
	// NoCloseFrame: a WebSocket ended without a close frame.
	NoCloseFrame Code = "LC142"
	// NoGoAway: HTTP/2 connections are closed without GOAWAY.
	NoGoAway Code = "LC143"
	// AnswersLate: answers take much longer while the program is stopping than before.
	AnswersLate Code = "LC144"
	// Resets: TCP connections were reset instead of closed.
	Resets Code = "LC145"
)

// meaning is the text of a code, and the conditions under which it can be found.
type meaning struct {
	title, why, change string
	traffic            bool   // found only with clients
	client             client // found only with clients of this kind, if not empty
	// needs reports whether it can be found with a configuration. Nil means with every one.
	needs func(*Config) bool
}

var meanings = map[Code]meaning{
	NoReaction: {
		title:  "does not react to the stop signal",
		why:    "Every deploy waits for the whole grace period. Then the program is killed, and everything that it was doing is lost.",
		change: "Handle SIGTERM in the program itself: signal.Notify in Go, process.on('SIGTERM') in Node, signal.signal in Python. A shell does not pass signals on: start the program with exec, or use the JSON form of ENTRYPOINT. In a container the program is PID 1, for which the kernel has no default action.",
	},
	TooSlow: {
		title:  "does not exit within its grace period",
		why:    "It is killed: what it was doing is lost, and Kubernetes records exit code 137.",
		change: "Give every wait a deadline. Together the waits must end a second before the program's time is up, which is terminationGracePeriodSeconds minus the time of the preStop hook. GracefulStop of gRPC-Go has none: call Stop when it takes too long. Or give the pod a longer grace period.",
	},
	CutOff: {
		title:   "cuts off in-flight requests",
		why:     "Clients see a connection reset or half an answer, for work that may have been done.",
		change:  "Let the server answer every request that it has accepted before the program exits. In Go: wait for http.Server.Shutdown to return before main returns.",
		traffic: true,
	},
	RefusedEarly: {
		title:   "refuses connections while clients are still routed to it",
		why:     "Kubernetes removes the endpoint and sends the signal at the same time. Until every proxy has noticed, new clients are still routed here, and get an error.",
		change:  "Keep accepting connections for some seconds after the signal, or give the pod a preStop sleep of a few seconds.",
		traffic: true,
	},
	ClosedUnderRequest: {
		title:   "closes keep-alive connections without notice",
		why:     "A client or a proxy that reuses its connection sends its next request into one that is being closed.",
		change:  "After the signal, add Connection: close to every answer. Close idle connections only some seconds later.",
		traffic: true,
	},
	ExitCode: {
		title:  "exits with a code other than 0 after a stop",
		why:    "Kubernetes records a failure: a Job counts it, alerts fire, and the pod's phase is Failed.",
		change: "Exit with 0 when the stop went as planned.",
	},
	NoHandler: {
		title:  "has no handler for the stop signal and is terminated by it",
		why:    "Nothing is finished, flushed or handed over.",
		change: "Handle SIGTERM: stop accepting work, finish what is in flight, then exit with 0.",
	},
	NotAnswered: {
		title:   "answers requests with errors while it is stopping",
		why:     "Clients are still routed to the program, and get errors from it.",
		change:  "Keep answering as before until the endpoint is gone. Only the readiness probe may get another answer at once.",
		traffic: true,
	},
	FailsBefore: {
		title:   "fails requests before the stop begins",
		why:     "Failures during the stop cannot be told apart from failures that happen anyway.",
		change:  "Give --http an address that answers at this rate, or lower --rate.",
		traffic: true,
	},
	Tight: {
		title:  "exits with hardly any of its grace period left",
		why:    "With a little more load it would be killed.",
		change: "Leave a second of the grace period, or a tenth of it where that is less.",
	},
	HookFails: {
		title:  "has a preStop hook that fails",
		why:    "The stop signal is sent at once, without the delay that the hook was meant to give. Kubernetes only records an event, FailedPreStopHook, and goes on.",
		change: "Let the hook do what its container can: an image without a shell has no sleep command, so use lifecycle.preStop.sleep. The path and the port of an httpGet must be the program's own.",
		needs:  func(c *Config) bool { return c.any(hasHook) },
	},
	HookOverruns: {
		title:  "has a preStop hook that uses up the grace period",
		why:    "The hook and the program share one grace period: the program has two seconds left, and then it is killed.",
		change: "Set terminationGracePeriodSeconds to the time of the hook, plus the time that the program takes, plus a second. Or give the hook less to do.",
		needs:  func(c *Config) bool { return c.any(hasHook) },
	},
	StaysReady: {
		title:  "reports ready until it has closed its port",
		why:    "Kubernetes removes the endpoint of a deleted pod by itself. But where no other pod is ready, it keeps routing clients to this one for as long as the readiness probe passes. So does a load balancer with health checks of its own.",
		change: "Let the readiness probe fail from the stop signal on, and keep serving until that has been noticed.",
		needs:  func(c *Config) bool { return c.Program.Readiness != nil && c.Program.Readiness.TCP == 0 },
	},
	DeadWhileStopping: {
		title:  "fails its liveness probe while it is stopping",
		why:    "The kubelet does not probe a pod that it is stopping. But in a stop that the kubelet has not begun, such as a signal from a person or a fault that the program has found itself, it takes the program for dead and kills it in the middle of its work.",
		change: "Let the liveness probe pass until the end, and only the readiness probe fail: use two paths, or two answers.",
		needs:  func(c *Config) bool { return c.Program.Liveness != nil && c.Program.Liveness.TCP == 0 },
	},
	NotAlive: {
		title:  "fails its liveness probe when nothing is wrong",
		why:    "The kubelet restarts the container, whatever it was doing.",
		change: "Let the liveness probe check that the process can answer at all, and not what it depends on. Give it a timeout and a failureThreshold that a busy moment does not reach.",
		needs:  func(c *Config) bool { return c.any(func(one *Container) bool { return one.Liveness != nil }) },
	},
	StartsTooSlowly: {
		title:  "fails its startup or liveness probe before it is ready",
		why:    "The kubelet restarts the container, and the next start is no quicker.",
		change: "Give it a startupProbe whose failureThreshold times periodSeconds is longer than the slowest start. Liveness probes begin only after that. Or listen before the part of the start that takes long, and let only the readiness probe fail until it is done.",
		needs:  func(c *Config) bool { return c.any(mustStart) },
	},
	LosesReadiness: {
		title:  "fails its readiness probe when nothing is being stopped",
		why:    "Its endpoint is removed, and its load goes to the other pods, which may fail next.",
		change: "Give the readiness probe a timeout and a failureThreshold that a busy moment does not reach.",
		needs:  func(c *Config) bool { return c.any(hasReadiness) },
	},
	SidecarGone: {
		title:  "loses a sidecar before it has exited",
		why:    "The program finishes its work without what the sidecar provides, such as a proxy or log shipping.",
		change: "Let the sidecar exit at its stop signal, which is sent when the program has exited, and not in a preStop hook: the hooks of sidecars run at the beginning of the stop.",
		needs:  func(c *Config) bool { return len(c.Sidecars) > 0 },
	},
	SidecarKilled: {
		title:  "has a sidecar that does not exit at its stop signal",
		why:    "The pod stays until the sidecar is killed, and a rollout waits for it.",
		change: "Handle the stop signal in the sidecar. It is sent when the program has exited, with what is left of the grace period, and two seconds at least.",
		needs:  func(c *Config) bool { return len(c.Sidecars) > 0 },
	},
	NotBack: {
		title:  "does not become ready again after a restart",
		why:    "A container that was killed is started again with the same volumes: what the dead program has left there keeps the next one from starting. The kubelet tries again after 10 s, then after 20 s and so on, up to five minutes: CrashLoopBackOff.",
		change: "Let a start cope with leftovers of the one before. Use flock for lock files: such a lock ends with its process, while a file that merely exists does not. Remove a Unix socket before listening on it. Repair or discard a half-written file.",
	},
	LostEarly: {
		title:  "misses a stop signal that arrives during startup",
		why:    "When a rollout is undone or a node is drained, pods are deleted that are not ready yet. Each of them then keeps running for its whole grace period.",
		change: "Install the signal handler first, before anything that takes long, and check for the signal between the steps of the start. A script that waits for something as PID 1 needs a trap: trap 'exit 143' TERM, with sleep in the background and wait. Or give the container an init.",
	},
	BreaksTwice: {
		title:  "crashes on a second stop signal",
		why:    "The kubelet sends the signal once, but people, docker stop and systemd may send it again: the work that was being finished is then lost.",
		change: "Let the second signal change nothing, or exit at once in an orderly way. In Go a channel must not be closed twice: use sync.Once, or a context.",
	},
	OutputBlocks: {
		title:  "does not exit when nobody reads its output",
		why:    "A log driver that hangs blocks every write, and with it the stop: the program is killed.",
		change: "Write logs in a goroutine or thread of their own that drops what cannot be written in time, and wait for it at exit for a second at most.",
	},
	NotBeside: {
		title:   "does not become ready alongside a copy of itself",
		why:     "A rollout starts the new pod before it deletes the old one. It then waits for ever, and reports an error only at its deadline.",
		change:  "Let several copies run at once: no lock, file or port of the machine that only one of them can have. Where that is impossible, the Deployment needs the strategy Recreate, and has an outage in every rollout.",
		traffic: true,
	},
	DisturbsCopy: {
		title:   "disturbs a copy of itself when one of them starts or exits",
		why:     "Two copies run at once in every rollout: one takes away or overwrites what the other needs.",
		change:  "Give each copy its own files, sockets and rows, and let a copy remove only its own when it exits.",
		traffic: true,
	},
	StreamCut: {
		title:   "cuts off streams",
		why:     "The client sees an error in the middle of an answer, and cannot tell a deploy from a broken network.",
		change:  "End each stream after the signal: return from its handler, so that the protocol marks the end of the stream and the client asks elsewhere for the rest. In Go, http.Server.Shutdown neither ends a handler nor waits for a hijacked connection: cancel a context of your own from RegisterOnShutdown.",
		traffic: true, client: stream,
	},
	NoCloseFrame: {
		title:   "closes WebSockets without a close frame",
		why:     "The client sees 1006, an abnormal closure, and does not know which of its messages have arrived.",
		change:  "After the signal, send a close frame with 1001 or 1012 on each WebSocket, and wait a second for the answers before the program exits. No server does that by itself: it has handed the connection over.",
		traffic: true, client: webSocket,
	},
	NoGoAway: {
		title:   "closes HTTP/2 connections without GOAWAY",
		why:     "A client does not know which of its requests were accepted, and cannot send the others to another server.",
		change:  "Let the server stop gracefully: http.Server.Shutdown in Go, GracefulStop in gRPC, server.close and then session.close for each session in Node.",
		traffic: true, client: keptHTTP2,
	},
	AnswersLate: {
		title:   "answers slowly while it is stopping",
		why:     "Clients are still routed to the program, and time out or retry.",
		change:  "Keep what answers requests, such as worker pools and database connections, until the last request is answered.",
		traffic: true,
	},
	Resets: {
		title:   "resets open connections",
		why:     "Data that was on its way to the client is thrown away with the connection.",
		change:  "Before the program exits, read what has arrived on each connection and then close it, without an SO_LINGER of 0.",
		traffic: true, client: openConnection,
	},
}

// Codes returns all codes, in order.
func Codes() []Code { return slices.Sorted(maps.Keys(meanings)) }

// Known reports whether the code exists.
func (c Code) Known() bool { _, ok := meanings[c]; return ok }

// Title returns, in a few words, what the program does wrong. It completes a sentence that begins
// with "the program".
func (c Code) Title() string { return meanings[c].title }

// Why returns the reason why that matters, in a sentence or two.
func (c Code) Why() string { return meanings[c].why }

// Change returns what to do about it.
func (c Code) Change() string { return meanings[c].change }
