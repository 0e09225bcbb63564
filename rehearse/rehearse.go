// Package rehearse runs a program through its end as Kubernetes brings it about, on the machine of
// who has written it: it is started, gets traffic, is deleted as a pod is, and the report says what
// its clients met, how it ended, and what to change.
//
// The times are those of the kubelet: the preStop hook and the process share one grace, a hook costs
// whole seconds of it, two seconds are left in any case, one stop signal is sent, and what is left is
// killed. The endpoint goes when the API has told everybody, which is some time after the deletion
// and in no order with the signal: clients go on connecting for EndpointLag.
//
// It is for Linux, where the program is PID 1 of a PID namespace if the system allows it.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"time"
)

// Config says what is rehearsed.
type Config struct {
	// Program is the container that clients talk to.
	Program Container
	// Sidecars are the pod's restartable init containers, in the pod's order: they are started before
	// Program, one after another, and stopped after it, the last one first.
	Sidecars []Container
	// Grace is the pod's terminationGracePeriodSeconds, of which the kubelet knows whole seconds. 0
	// means 30 s.
	Grace time.Duration
	// NodeGrace is what the node leaves to a pod in a soft eviction (evictionMaxPodGracePeriod of the
	// kubelet) and in its shutdown (shutdownGracePeriod), where that is less than Grace. 0 means Grace.
	NodeGrace time.Duration
	// Scenarios are rehearsed one after another, each with the program started anew. None means Quick.
	Scenarios []Scenario
	// EndpointLag is for how long clients go on connecting after the deletion. Negative means that
	// they stop at once; 0 means a second.
	EndpointLag time.Duration

	// URL is what clients ask for, and answers when the program is ready. Without one it is / on the
	// lowest port of loopback on which the program listens; a program that listens on none is
	// rehearsed without clients.
	URL string
	// SlowURL is what takes a second or some to answer: three requests for it are in flight when the
	// signal comes. Empty means none.
	SlowURL string
	// Rate is how many clients connect in a second; 0 means 50.
	Rate int
	// Ready is for how long the program may take to become ready; 0 means 30 s.
	Ready time.Duration
	// CutShort ends a scenario some seconds after the stop signal, whatever the grace is.
	CutShort bool
	// AnyHost allows a URL that is not of this machine's loopback.
	AnyHost bool

	sharePIDs bool // no PID namespace, for tests

	// Baseline has the findings that are accepted: they are reported, and do not fail. Nil means none.
	Baseline *Baseline

	// Begin is told of each scenario before it begins, Watch of each event when it is known, which may
	// be some time after it has happened, and End of what a scenario has found. Each may be nil.
	Begin func(Scenario)
	Watch func(Event)
	End   func(*Result)
}

const (
	defaultGrace = 30 * time.Second
	defaultLag   = time.Second
	defaultRate  = 50
	maxRate      = 5000
	defaultReady = 30 * time.Second
	// steady is for how long clients ask before the deletion.
	steady = 2 * time.Second
	// quickEnough is for how long a quick rehearsal waits after the stop signal.
	quickEnough = 8 * time.Second
	// closing is how long before its end a program may close its port, where clients come until then.
	closing = 250 * time.Millisecond
	// slowLead is how long before the stop signal the slow requests begin.
	slowLead = 100 * time.Millisecond
	// noReaction is for how long a program without a handler is watched all the same.
	noReaction = 2 * time.Second
	// noPort is after what time a program that listens nowhere is taken for one without clients.
	noPort = 2 * time.Second
)

// Do rehearses a program in each scenario. The error says why that was not possible; what is wrong
// with the program is in the report. When ctx ends, the program is killed and the error is its cause.
// Nothing that was started is left when Do has returned, or this process was killed.
//
// To start the program Do executes the file of this process again: package rehearse takes over such
// a process before its main begins.
func Do(ctx context.Context, c Config) (*Report, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	report := &Report{Command: c.Program.Command}
	for _, s := range c.Scenarios {
		if c.Begin != nil {
			c.Begin(s)
		}
		result, err := once(ctx, &c, s)
		var isDown *downError
		if n := len(report.Results); n > 0 && errors.As(err, &isDown) {
			// It was ready once: something is left of it that it does not get over.
			report.Results[n-1].notBack(isDown)
			break
		}
		if err != nil {
			return nil, err
		}
		if c.End != nil {
			c.End(result)
		}
		report.Results = append(report.Results, *result)
	}
	for _, s := range c.Scenarios[len(report.Results):] {
		report.Results = append(report.Results, Result{Scenario: s, Skipped: "the program does not become ready any more"})
	}
	report.Stale = c.Baseline.stale(report)
	return report, nil
}

// once rehearses one scenario.
func once(ctx context.Context, c *Config, s Scenario) (*Result, error) {
	r := &rehearsal{config: c, plan: s.plan(), result: Result{Scenario: s}}
	err := r.run(ctx)
	if err = errors.Join(err, r.clean(ctx)); err != nil {
		return nil, err
	}
	r.judge()
	c.Baseline.accept(&r.result)
	return &r.result, nil
}

// complete checks what was given and fills in the defaults.
func (c *Config) complete() error {
	if len(c.Program.Command) == 0 {
		return errors.New("rehearse: no program given: say which, as in -- ./server --port 8080")
	}
	if hook := c.Program.PreStop; hook != nil && len(hook.Exec) == 0 {
		return errors.New("rehearse: a preStop hook is a command")
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
	c.EndpointLag = max(c.EndpointLag, 0)
	if c.Rate == 0 {
		c.Rate = defaultRate
	}
	if c.Rate > maxRate {
		return fmt.Errorf("rehearse: a rate of %d connections a second is too much for one machine: at most %d", c.Rate, maxRate)
	}
	if c.Program.StopSignal == 0 {
		c.Program.StopSignal = syscall.SIGTERM
	}
	if len(c.Scenarios) == 0 {
		c.Scenarios = Quick()
	}
	for _, s := range c.Scenarios {
		if err := s.check(); err != nil {
			return err
		}
	}
	return errors.Join(c.checkAddress(c.URL), c.checkAddress(c.SlowURL))
}

// checkAddress checks an address that clients ask for.
func (c *Config) checkAddress(address string) error {
	if address == "" {
		return nil
	}
	target, err := url.Parse(address)
	if err != nil || target.Scheme != "http" || target.Port() == "" {
		return fmt.Errorf("rehearse: %q is no address like http://127.0.0.1:8080/path", address)
	}
	if ip := net.ParseIP(target.Hostname()); !c.AnyHost && target.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("rehearse: %s is not this machine's loopback: the traffic of a rehearsal is for the program that it has started", target.Host)
	}
	return nil
}
