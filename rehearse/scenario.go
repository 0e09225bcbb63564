package rehearse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is the name of one of the ways in which a pod ends.
type Scenario string

const (
	// Delete is what a rollout, a scale-down and a drain do: the API server marks the pod as deleted,
	// its endpoint is removed, and the kubelet stops the containers with the whole grace period.
	Delete Scenario = "delete"
	// Rollout is a deletion with a second copy of the program alongside it, to which clients move on.
	Rollout Scenario = "rollout"
	// Load is a deletion while ten times as many clients connect.
	Load Scenario = "load"
	// OnlyCopy is a deletion while no other copy of the program is ready, as of a Deployment with one
	// replica whose node is drained: new clients are still routed here for as long as the readiness
	// probe passes.
	OnlyCopy Scenario = "only-copy"
	// OpenStreams is a deletion while clients have streams or WebSockets open, and no new client
	// connects.
	OpenStreams Scenario = "stream"
	// SidecarOrder is the deletion of a pod with sidecars, which are stopped one after another when
	// the program has exited.
	SidecarOrder Scenario = "sidecar-order"
	// SidecarCrash is a crash of the sidecars, which are started again while the program runs on.
	SidecarCrash Scenario = "sidecar-crash"
	// HookOverrun is a deletion with a preStop hook that takes longer than the grace period: two
	// seconds are left for the program.
	HookOverrun Scenario = "hook-overrun"
	// Lag0 is a deletion after which no client connects any more.
	Lag0 Scenario = "lag-0"
	// Lag1 is a deletion after which clients keep connecting for a second.
	Lag1 Scenario = "lag-1"
	// Lag5 is a deletion after which clients keep connecting for five seconds, as when a load balancer
	// outside of the cluster has to be updated.
	Lag5 Scenario = "lag-5"
	// ForceDelete is kubectl delete --force --grace-period=0: the pod is removed from the API at once,
	// and its process has two seconds.
	ForceDelete Scenario = "force-delete"
	// HardEviction is what the kubelet does when its node runs out of memory or disk: the program has
	// two seconds, and the endpoint stays until the containers are gone.
	HardEviction Scenario = "hard-eviction"
	// SoftEviction is an eviction with a grace period that the node sets, at most the pod's.
	SoftEviction Scenario = "soft-eviction"
	// NodeShutdown is the shutdown of a node: the endpoint stays as in an eviction, and the grace
	// period is what the node allows its pods.
	NodeShutdown Scenario = "node-shutdown"
	// LivenessFailure is a liveness probe that has failed: the container is stopped with its hook and
	// its grace period while its pod stays, and is started again.
	LivenessFailure Scenario = "liveness-failure"
	// SecondSignal is a second stop signal while the program is stopping: from a person, from docker
	// stop or from systemd. The kubelet sends only one.
	SecondSignal Scenario = "second-signal"
	// Starting is a pod that is deleted before its program is ready.
	Starting Scenario = "starting"
	// OutputStuck is a program whose output nobody reads any more, as when a log driver hangs.
	OutputStuck Scenario = "output-stuck"
	// Frozen is a program that was stopped by SIGSTOP before the stop signal was sent. Nothing
	// continues it: it is killed when its time is up, and started again.
	Frozen Scenario = "frozen"
	// Crash is a program that is killed, as by the kernel when memory runs out, and started again.
	Crash Scenario = "crash"
)

// Quick returns the scenarios of a first verdict, which take less than 15 seconds.
func Quick() []Scenario { return []Scenario{Delete} }

// All returns all scenarios, in the order in which they are rehearsed: those that kill the program
// come last.
func All() []Scenario {
	all := make([]Scenario, len(plans))
	for i := range plans {
		all[i] = plans[i].scenario
	}
	return all
}

// About describes in a sentence what happens in a scenario.
func (s Scenario) About() string {
	if p := s.plan(); p != nil {
		return p.about
	}
	return ""
}

// check returns an error if there is no scenario with this name.
func (s Scenario) check() error {
	if s.plan() != nil {
		return nil
	}
	var names []string
	for _, one := range All() {
		names = append(names, string(one))
	}
	return fmt.Errorf("rehearse: there is no scenario %q: they are %s", s, strings.Join(names, ", "))
}

// plan is how a scenario is rehearsed: what the cluster decides, what is done step by step, and
// which findings are possible.
type plan struct {
	scenario Scenario
	about    string
	// happens is the timeline's word for the event that begins the end.
	happens string
	// order is the order to stop that the kubelet receives, without what the configuration sets.
	order stopOrder
	// lag is how long clients keep connecting, nil for the configured time.
	lag *time.Duration
	// lacks returns what the scenario needs and a configuration does not have, empty for nothing. Nil
	// means that the scenario needs nothing.
	lacks func(*Config) string
	// load is by how much the configured number of connecting clients is multiplied. 0 means 1.
	load int
	// serves is how long clients send requests before the end begins. 0 means long enough for most
	// scenarios.
	serves time.Duration
	// steps are done in order, by one goroutine. The first error ends the rehearsal.
	steps []step
	// checks are the findings that the scenario can have; all others are ignored. Those of lenient are
	// warnings here even where they are failures elsewhere.
	checks, lenient []Code
}

func (p *plan) servesFor() time.Duration {
	if p.serves != 0 {
		return p.serves
	}
	return time.Second
}

// step is one part of a scenario.
type step struct {
	// do does it. An error means that the rehearsal cannot continue. Defects of the program are
	// recorded by find, or judged at the end.
	do func(r *rehearsal, ctx context.Context) error
	// takes is how long that takes at most, nil if it takes hardly any time.
	takes func(c *Config, p *plan) time.Duration
}

// steps concatenates the parts of a plan.
func steps(parts ...[]step) []step { return slices.Concat(parts...) }

// The parts of plans.
var (
	begin    = []step{{(*rehearsal).start, startTime}}
	comeUp   = steps(begin, []step{{(*rehearsal).becomeReady, nil}, {(*rehearsal).serve, serveTime}})
	beginEnd = []step{{(*rehearsal).beginEnd, nil}}
	preStop  = []step{{(*rehearsal).preStop, hookTime}}
	toSignal = []step{{(*rehearsal).askSlowly, nil}, {(*rehearsal).signal, nil}}
	awaitEnd = []step{{(*rehearsal).awaitEnd, endTime}, {(*rehearsal).awaitSidecars, sidecarTime}}
	goDown   = steps(beginEnd, preStop, toSignal, awaitEnd)
	comeBack = []step{{(*rehearsal).startAgain, startTime}}
)

// noSidecars is what a scenario about sidecars lacks, empty if the pod has some.
func noSidecars(c *Config) string {
	if len(c.Sidecars) > 0 {
		return ""
	}
	return "the pod has no sidecars"
}

// Sets of checks.
var (
	// whileStopped are the findings about a program that is stopped by a signal.
	whileStopped = []Code{NoReaction, TooSlow, CutOff, RefusedEarly, ClosedUnderRequest, ExitCode, NoHandler, NotAnswered, FailsBefore, Tight,
		HookFails, HookOverruns, StaysReady, DeadWhileStopping, NotAlive, StartsTooSlowly, LosesReadiness, SidecarGone, SidecarKilled,
		StreamCut, NoCloseFrame, NoGoAway, AnswersLate, Resets}
	// whenKilled are the findings about a program that has no time to end properly.
	whenKilled = []Code{NoReaction, TooSlow, ExitCode, NoHandler, NotBack, HookFails, NotAlive, StartsTooSlowly, LosesReadiness, SidecarGone}
)

// plans are all scenarios.
var plans = []plan{
	{
		scenario: Delete, happens: "deleted", serves: steady,
		about: "the pod is deleted, as by a rollout, a scale-down or a drain",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Rollout, happens: "deleted",
		about:  "a second copy starts, becomes ready, and takes over while the first one is deleted",
		steps:  steps(comeUp, []step{{(*rehearsal).startSecond, besideTime}}, goDown, []step{{(*rehearsal).stayedSecond, nil}}),
		checks: append(slices.Clone(whileStopped), NotBeside, DisturbsCopy),
	},
	{
		scenario: Load, happens: "deleted", load: 10,
		about: "the pod is deleted while ten times as many clients connect",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Lag0, happens: "deleted", lag: new(time.Duration(0)),
		about: "the pod is deleted, and no client connects any more",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Lag1, happens: "deleted", lag: new(time.Second),
		about: "the pod is deleted, and clients keep connecting for a second",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Lag5, happens: "deleted", lag: new(5 * time.Second),
		about: "the pod is deleted, and clients keep connecting for five seconds, as behind a load balancer",
		steps: steps(comeUp, goDown), checks: whileStopped, lenient: []Code{RefusedEarly},
	},
	{
		scenario: OnlyCopy, happens: "deleted", order: stopOrder{onlyCopy: true},
		about: "the pod is deleted while no other copy is ready, and its endpoint stays while the readiness probe passes",
		steps: steps(comeUp, goDown), checks: whileStopped, lenient: []Code{RefusedEarly},
	},
	{
		scenario: OpenStreams, happens: "deleted", lag: new(time.Duration(0)),
		about: "the pod is deleted while clients have streams or WebSockets open",
		lacks: func(c *Config) string {
			if slices.ContainsFunc(c.targets, func(t *target) bool { return t.Use == Stream || t.url.Scheme == "ws" || t.url.Scheme == "wss" }) {
				return ""
			}
			return "no client has a stream open: give one with --stream, or a WebSocket with --websocket"
		},
		steps: steps(comeUp, goDown), checks: []Code{NoReaction, TooSlow, StreamCut, NoCloseFrame, NoGoAway, Resets},
	},
	{
		scenario: SoftEviction, happens: "evicted", order: stopOrder{cause: bySoftEviction},
		about: "the node runs short of something and evicts the pod, whose endpoint stays until the end",
		steps: steps(comeUp, goDown), checks: whileStopped, lenient: []Code{RefusedEarly},
	},
	{
		scenario: NodeShutdown, happens: "node shuts down", order: stopOrder{cause: byNodeShutdown},
		about: "the node is shut down, and the endpoint stays until the end",
		steps: steps(comeUp, goDown), checks: whileStopped, lenient: []Code{RefusedEarly},
	},
	{
		scenario: LivenessFailure, happens: "not alive", order: stopOrder{cause: byProbe},
		about: "the liveness probe has failed: the container is restarted",
		steps: steps(comeUp, goDown, comeBack), checks: append(slices.Clone(whileStopped), NotBack), lenient: []Code{RefusedEarly},
	},
	{
		scenario: SecondSignal, happens: "deleted",
		about: "a second stop signal is sent while the program is stopping",
		steps: steps(comeUp, beginEnd, preStop, toSignal, []step{{(*rehearsal).signalAgain, nil}}, awaitEnd), checks: []Code{NoReaction, TooSlow, BreaksTwice},
	},
	{
		scenario: Starting, happens: "deleted",
		about: "the pod is deleted before its program is ready",
		steps: steps(begin, []step{{(*rehearsal).awaitHandler, startTime}}, goDown), checks: []Code{NoReaction, LostEarly},
	},
	{
		scenario: OutputStuck, happens: "deleted",
		about: "nobody reads the program's output any more when the pod is deleted",
		steps: steps(comeUp, []step{{(*rehearsal).holdOutput, nil}}, goDown), checks: []Code{NoReaction, OutputBlocks},
	},
	{
		scenario: SidecarOrder, happens: "deleted",
		about: "the pod is deleted, and its sidecars are stopped when the program has exited",
		lacks: noSidecars,
		steps: steps(comeUp, goDown), checks: []Code{SidecarGone, SidecarKilled},
	},
	{
		scenario: HookOverrun, happens: "deleted", order: stopOrder{asked: new(int64(2))},
		about: "a preStop hook takes longer than the grace period, and two seconds are left",
		steps: steps(comeUp, beginEnd, []step{{(*rehearsal).overrun, overrunTime}}, toSignal, awaitEnd, comeBack), checks: whenKilled, lenient: []Code{TooSlow},
	},
	{
		scenario: ForceDelete, happens: "deleted", order: stopOrder{asked: new(int64)},
		about: "kubectl delete --force --grace-period=0: the program has two seconds in all",
		steps: steps(comeUp, goDown, comeBack), checks: whenKilled, lenient: []Code{TooSlow},
	},
	{
		scenario: HardEviction, happens: "evicted", order: stopOrder{cause: byHardEviction},
		about: "the node is out of memory or disk and evicts the pod: the program has two seconds in all",
		steps: steps(comeUp, goDown, comeBack), checks: whenKilled, lenient: []Code{TooSlow},
	},
	{
		scenario: Frozen, happens: "deleted",
		about: "the program was stopped by SIGSTOP before the pod is deleted, and never sees the signal",
		steps: steps(comeUp, []step{{(*rehearsal).freeze, nil}}, goDown, comeBack), checks: []Code{NotBack},
	},
	{
		scenario: SidecarCrash, happens: "killed",
		about: "the sidecars are killed without warning, and started again while the program runs on",
		lacks: noSidecars,
		steps: steps(comeUp, []step{{(*rehearsal).crashSidecars, sidecarCrashTime}}, comeBack), checks: []Code{NotBack},
	},
	{
		scenario: Crash, happens: "killed",
		about: "the program is killed without warning, and started again",
		steps: steps(comeUp, []step{{(*rehearsal).crash, nil}}, comeBack), checks: []Code{NotBack},
	},
}

// plan returns the scenario's plan, nil for none.
func (s Scenario) plan() *plan {
	for i := range plans {
		if plans[i].scenario == s {
			return &plans[i]
		}
	}
	return nil
}
