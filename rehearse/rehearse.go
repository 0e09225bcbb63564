// Package rehearse runs a program through the ways in which Kubernetes ends a pod, on the
// developer's machine. It starts the program, sends it traffic and deletes it as a pod is deleted.
// The report says what its clients met, how it ended, and what to change.
//
// The times are those of the kubelet:
//
//   - The preStop hook and the program share one grace period.
//   - A hook costs whole seconds of it. At least two seconds are left for the program in any case.
//   - One stop signal is sent. Whatever still runs at the end is killed.
//
// The endpoint is removed when every component has learned from the API server that the pod is
// deleted. That takes a while, and is not ordered with the signal: clients keep connecting for
// EndpointLag.
//
// On Linux the program is PID 1 of a PID namespace if the system allows it. Otherwise, and on other
// Unix systems, it leads a process group, and Result.Isolation says what that means. Images, the
// ports of a program, its handlers and its full output need Linux. Windows has no rehearsals.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Config describes a rehearsal.
type Config struct {
	// Program is the container that clients talk to.
	Program Container
	// Sidecars are the pod's restartable init containers, in the pod's order. They are started before
	// Program, one after another, and stopped after it, the last one first.
	Sidecars []Container
	// Grace is the pod's terminationGracePeriodSeconds; the kubelet counts in whole seconds. 0 means
	// 30 s.
	Grace time.Duration
	// NodeGrace is the grace period that the node allows a pod in a soft eviction
	// (evictionMaxPodGracePeriod of the kubelet) and in a node shutdown (shutdownGracePeriod), where
	// that is less than Grace. 0 means Grace.
	NodeGrace time.Duration
	// Scenarios are rehearsed one after another; the program is started again for each. None means
	// Quick.
	Scenarios []Scenario
	// EndpointLag is how long clients keep connecting after the deletion. A negative value means that
	// they stop at once; 0 means a second.
	EndpointLag time.Duration

	// Traffic is what clients ask for. If it has no target to Ask, clients ask for / on the lowest
	// loopback port on which the program listens. A program that listens on none is rehearsed without
	// clients.
	Traffic []Target
	// Rate is how many clients connect to each target per second; 0 means 50.
	Rate int
	// Ready is how long the program may take to become ready; 0 means 30 s.
	Ready time.Duration
	// CutShort ends a scenario ten seconds after the deletion, whatever the grace period is; later on
	// a machine that is too busy to run this process all the time. Even without it, if the program
	// does not exit in the scenario Delete, the other scenarios do not wait for its end.
	CutShort bool
	// AnyHost allows a target that is not on this machine's loopback, or on which another process
	// listens before the program is started.
	AnyHost bool

	targets []*target // those of Traffic

	sharePIDs bool          // no PID namespace, for tests
	noPort    time.Duration // longer than the constant, for tests on a busy machine

	// Baseline has the accepted findings: they are reported, but do not fail the rehearsal. Nil means
	// none.
	Baseline *Baseline

	// Begin is called before each scenario. Watch is called for each event once it is known, which may
	// be some time after it has happened. End is called with the result of each scenario. Each may be
	// nil.
	Begin func(Scenario)
	Watch func(Event)
	End   func(*Result)
}

const (
	defaultGrace = 30 * time.Second
	defaultLag   = time.Second
	defaultRate  = 50
	maxRate      = 5000
	maxLoad      = 500 // in the scenario Load
	defaultReady = 30 * time.Second
	// steady is how long clients ask before the deletion.
	steady = 2 * time.Second
	// quickEnough is how long a quick rehearsal waits after the deletion, and quickAtLeast how long
	// after the stop signal.
	quickEnough  = 10500 * time.Millisecond
	quickAtLeast = 3 * time.Second
	// closing is how long before its exit a program may close its port while clients still connect.
	closing = time.Second
	// slowLead is how long before the stop signal the slow requests are sent.
	slowLead = 100 * time.Millisecond
	// noReaction is how long a program without a handler is still watched.
	noReaction = 2 * time.Second
	// secondAfter is the time between the stop signal and a second one.
	secondAfter = 300 * time.Millisecond
	// handlerPolls is how often, every handlerPoll, a starting program is checked for a handler: for
	// about a second.
	handlerPolls = 50
	handlerPoll  = 20 * time.Millisecond
	// staysFor is how long a second copy is watched after the exit of the first one, and a sidecar
	// after its restart.
	staysFor = 300 * time.Millisecond
	// withoutSidecars is the time from the crash of the sidecars to their restart. The kubelet takes
	// about a second for it.
	withoutSidecars = time.Second
	// noPort is the time after which a program that does nothing and listens nowhere is taken for one
	// without clients, and noPortBusy the same for a busy program.
	noPort     = 2 * time.Second
	noPortBusy = 10 * time.Second
)

// Do rehearses a program in each scenario. An error means that this was not possible; what is wrong
// with the program is in the report. When ctx ends, the program is killed and the error is the
// cause of ctx. No process outlives Do, even if this process is killed.
//
// To start the program, Do executes the file of this process again: package rehearse takes over
// such a process before its main begins.
func Do(ctx context.Context, c Config) (*Report, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := c.notTaken(ctx); err != nil {
		return nil, err
	}
	c.nameReports()
	report := &Report{Command: c.Program.Command}
	var so sofar
	for _, s := range c.Scenarios {
		if c.Begin != nil {
			c.Begin(s)
		}
		result, err := once(ctx, &c, s, &so)
		if err != nil {
			return nil, err
		}
		if c.End != nil {
			c.End(result)
		}
		report.Results = append(report.Results, *result)
	}
	report.Stale = c.Baseline.stale(report)
	return report, nil
}

// sofar is what earlier scenarios have shown about a program, for the later ones.
type sofar struct {
	last     Scenario // the last scenario that was rehearsed
	hung     bool     // the program did not exit
	notReady bool     // it does not become ready any more
}

// once rehearses one scenario.
func once(ctx context.Context, c *Config, s Scenario, so *sofar) (*Result, error) {
	r := &rehearsal{config: c, plan: s.plan(), hung: so.hung, result: Result{Scenario: s}, probing: probing{news: make(chan struct{}, 1)}}
	switch {
	case so.notReady:
		r.result.Skipped = "the program does not become ready any more"
	case r.plan.lacks != nil:
		r.result.Skipped = r.plan.lacks(c)
	}
	if r.result.Skipped != "" {
		return &r.result, nil
	}
	err := r.run(ctx)
	var skipped skipError
	if errors.As(err, &skipped) {
		r.result.Skipped, err = string(skipped), nil
	}
	var isDown *downError
	if so.last != "" && errors.As(err, &isDown) {
		// Earlier findings must not be lost, and the last scenario has left something behind that a start
		// does not cope with.
		so.notReady, r.brokenOff, err = true, true, nil
		r.find(NotBack, true, "after %s, %s", so.last, isDown.text)
	}
	if err = errors.Join(err, r.clean(ctx), r.endPod(ctx), r.endSecond(ctx)); err != nil {
		return nil, err
	}
	if r.result.Skipped != "" {
		return &r.result, nil
	}
	r.judge()
	c.Baseline.accept(&r.result)
	so.last, so.hung = s, so.hung || s == Delete && r.ranOn > 0
	return &r.result, nil
}

// complete checks the configuration and fills in the defaults.
func (c *Config) complete() error {
	if len(c.Program.Command) == 0 {
		return errors.New("rehearse: no program given: say which, as in -- ./server --port 8080")
	}
	if c.Grace < 0 || c.NodeGrace < 0 || c.Rate < 0 || c.Ready < 0 {
		return errors.New("rehearse: grace, rate and the time to become ready must not be negative")
	}
	orDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orDefault(&c.Grace, defaultGrace)
	orDefault(&c.NodeGrace, c.Grace)
	orDefault(&c.EndpointLag, defaultLag)
	orDefault(&c.Ready, defaultReady)
	orDefault(&c.noPort, noPort)
	c.EndpointLag = max(c.EndpointLag, 0)
	if c.Rate == 0 {
		c.Rate = defaultRate
	}
	if c.Rate > maxRate {
		return fmt.Errorf("rehearse: a rate of %d connections a second is too much for one machine: at most %d", c.Rate, maxRate)
	}
	if err := c.completePod(); err != nil {
		return err
	}
	if len(c.Scenarios) == 0 {
		c.Scenarios = Quick()
	}
	for _, s := range c.Scenarios {
		if err := s.check(); err != nil {
			return err
		}
	}
	c.targets = nil
	for _, one := range c.Traffic {
		checked, err := newTarget(one, c.AnyHost)
		if err != nil {
			return err
		}
		c.targets = append(c.targets, checked)
	}
	if c.Rate*len(c.targets) > maxRate {
		return fmt.Errorf("rehearse: %d connections a second to each of %d targets are too much for one machine: at most %d in all", c.Rate, len(c.targets), maxRate)
	}
	return nil
}
