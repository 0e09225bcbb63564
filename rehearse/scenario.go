package rehearse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scenario is the name of one way in which a pod ends.
type Scenario string

const (
	// Delete is what a rollout, a scale-down and a drain do: the API server marks the pod, its endpoint
	// is taken away, and the kubelet stops the containers with the whole grace.
	Delete Scenario = "delete"
	// Lag0 is a deletion after which nobody connects any more.
	Lag0 Scenario = "lag-0"
	// Lag1 is one after which clients go on connecting for a second.
	Lag1 Scenario = "lag-1"
	// Lag5 is one after which they do for five seconds, as where a load balancer outside of the cluster
	// has to be told.
	Lag5 Scenario = "lag-5"
	// ForceDelete is kubectl delete --force --grace-period=0: the pod is gone from the API at once, and
	// its process has two seconds.
	ForceDelete Scenario = "force-delete"
	// HardEviction is what the kubelet does when its node runs out of memory or disk: two seconds, and
	// the endpoint stays until the containers are gone.
	HardEviction Scenario = "hard-eviction"
	// SoftEviction is the same with a grace of the node's, which is at most the pod's.
	SoftEviction Scenario = "soft-eviction"
	// NodeShutdown is a node that is shut down: the endpoint stays as in an eviction, and the grace is
	// what the node leaves to its pods.
	NodeShutdown Scenario = "node-shutdown"
	// LivenessFailure is a liveness probe that has failed: the container is stopped with its hook and
	// its grace while its pod stays, and is started again.
	LivenessFailure Scenario = "liveness-failure"
	// Frozen is a program that was stopped by SIGSTOP before the stop signal came. Nothing continues
	// it: it is killed when its time is over, and started again.
	Frozen Scenario = "frozen"
	// Crash is a program that is killed, as by the kernel when memory runs out, and started again.
	Crash Scenario = "crash"
)

// Quick are the scenarios of a first verdict, in less than 15 seconds.
func Quick() []Scenario { return []Scenario{Delete} }

// All are all scenarios, in the order in which they are rehearsed: those that kill the program come
// last.
func All() []Scenario {
	all := make([]Scenario, len(plans))
	for i := range plans {
		all[i] = plans[i].scenario
	}
	return all
}

// About says in a sentence what happens in a scenario.
func (s Scenario) About() string {
	if p := s.plan(); p != nil {
		return p.about
	}
	return ""
}

// check returns an error for a name that is none of a scenario.
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

// plan is how a scenario is rehearsed: what the cluster decides, what is done one after another, and
// what is looked for.
type plan struct {
	scenario Scenario
	about    string
	// happens is what the timeline says when the end begins.
	happens string
	// order is what the kubelet is told, but for what the configuration says.
	order stopOrder
	// lag is for how long clients go on connecting, nil for what is configured.
	lag *time.Duration
	// steps are done in order, by one goroutine. The first error ends the rehearsal.
	steps []step
	// checks are the findings that the scenario can have; what else was noticed is left out. Those of
	// lenient are warnings here even where they are failures elsewhere.
	checks, lenient []Code
}

// step is one part of a scenario. Its error says why there can be no rehearsal; what is wrong with the
// program is noted by find, or judged at the end.
type step func(r *rehearsal, ctx context.Context) error

// steps puts the parts of a plan together.
func steps(parts ...[]step) []step { return slices.Concat(parts...) }

// The parts of which plans are made.
var (
	comeUp   = []step{(*rehearsal).start, (*rehearsal).becomeReady, (*rehearsal).serve}
	goDown   = []step{(*rehearsal).beginEnd, (*rehearsal).preStop, (*rehearsal).askSlowly, (*rehearsal).signal, (*rehearsal).awaitEnd}
	comeBack = []step{(*rehearsal).startAgain}
)

// What is looked for.
var (
	// whileStopped are the findings of a program that is stopped by a signal.
	whileStopped = []Code{NoReaction, TooSlow, CutOff, RefusedEarly, ClosedUnderRequest, ExitCode, NoHandler, NotAnswered, FailsBefore, Tight}
	// whenKilled are those of a program that has no time to end properly.
	whenKilled = []Code{NoReaction, TooSlow, ExitCode, NoHandler, NotBack}
)

// plans are all scenarios.
var plans = []plan{
	{
		scenario: Delete, happens: "deleted",
		about: "the pod is deleted, as by a rollout, a scale-down or a drain",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Lag0, happens: "deleted", lag: new(time.Duration(0)),
		about: "the pod is deleted, and nobody connects any more",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Lag1, happens: "deleted", lag: new(time.Second),
		about: "the pod is deleted, and clients go on connecting for a second",
		steps: steps(comeUp, goDown), checks: whileStopped,
	},
	{
		scenario: Lag5, happens: "deleted", lag: new(5 * time.Second),
		about: "the pod is deleted, and clients go on connecting for five seconds, as behind a load balancer",
		steps: steps(comeUp, goDown), checks: whileStopped, lenient: []Code{RefusedEarly},
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
		about: "the liveness probe has failed: the container is stopped and started again",
		steps: steps(comeUp, goDown, comeBack), checks: append(slices.Clone(whileStopped), NotBack), lenient: []Code{RefusedEarly},
	},
	{
		scenario: ForceDelete, happens: "deleted", order: stopOrder{asked: new(int64)},
		about: "kubectl delete --force --grace-period=0: two seconds are all there is",
		steps: steps(comeUp, goDown, comeBack), checks: whenKilled, lenient: []Code{TooSlow},
	},
	{
		scenario: HardEviction, happens: "evicted", order: stopOrder{cause: byHardEviction},
		about: "the node is out of memory or disk and evicts the pod: two seconds are all there is",
		steps: steps(comeUp, goDown, comeBack), checks: whenKilled, lenient: []Code{TooSlow},
	},
	{
		scenario: Frozen, happens: "deleted",
		about: "the program was stopped by SIGSTOP before the pod is deleted, and never sees the signal",
		steps: steps(comeUp, []step{(*rehearsal).freeze}, goDown, comeBack), checks: []Code{NotBack},
	},
	{
		scenario: Crash, happens: "killed",
		about: "the program is killed without a warning, and started again",
		steps: steps(comeUp, []step{(*rehearsal).crash}, comeBack), checks: []Code{NotBack},
	},
}

// plan is the scenario's, nil for none.
func (s Scenario) plan() *plan {
	for i := range plans {
		if plans[i].scenario == s {
			return &plans[i]
		}
	}
	return nil
}
