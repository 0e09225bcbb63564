package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// hookRun is a preStop hook that was started. Its owner calls end.
type hookRun struct {
	ended  chan struct{} // closed when it has ended
	cancel context.CancelFunc

	begun time.Time
	took  time.Duration // these two may be read once ended is closed
	err   error

	// These belong to the goroutine that waited for the hook.
	whose           string // "" or "sidecar NAME: "
	grace           int64
	overran, failed bool
}

// lifecycleAgent is the User-Agent of the kubelet's hooks.
const lifecycleAgent = "kube-lifecycle/" + kubelet

// beginHook starts a hook of a program. Only end stops it: in a container, too, a hook that takes
// longer than the grace period keeps running.
func beginHook(p *program, h *Hook) *hookRun {
	ctx, cancel := context.WithCancel(context.Background())
	run := &hookRun{ended: make(chan struct{}), cancel: cancel, begun: time.Now()}
	go func() {
		defer close(run.ended)
		run.err = h.run(ctx, p)
		run.took = time.Since(run.begun)
	}()
	return run
}

// end stops the hook, and waits for it.
func (h *hookRun) end() {
	h.cancel()
	<-h.ended
}

// run runs a hook to its end (pkg/kubelet/lifecycle/handlers.go).
func (h *Hook) run(ctx context.Context, p *program) error {
	switch {
	case h.Sleep != nil:
		if !pause(ctx, *h.Sleep) {
			return context.Cause(ctx)
		}
		return nil
	case h.HTTPGet != nil:
		_, err := h.HTTPGet.get(ctx, lifecycleAgent)
		// Plain text instead of https: the request is sent again without TLS.
		if errors.Is(err, http.ErrSchemeMismatch) {
			plain := *h.HTTPGet
			plain.Scheme = "http"
			_, err = plain.get(ctx, lifecycleAgent)
		}
		return err // whatever the status is
	}
	cmd, err := p.exec(h.Exec)
	if err != nil {
		return err
	}
	return runGroup(ctx, cmd)
}

// String describes what the hook does.
func (h *Hook) String() string {
	switch {
	case h.Sleep != nil:
		return fmt.Sprintf("sleep of %v", *h.Sleep)
	case h.HTTPGet != nil:
		return "GET " + h.HTTPGet.url()
	}
	return strings.Join(h.Exec, " ")
}

// runGroup runs a command that leads a process group, and kills the group when ctx ends.
func runGroup(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = cmd.Wait()
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		killGroup(cmd.Process.Pid)
		<-ended
		return context.Cause(ctx)
	}
}

// isFailure reports whether a hook that has ended has failed. A hook of a container that is gone
// has not: its commands are killed with the program or cannot be started any more, and its requests
// find nobody. The program was not signalled yet, so it has exited by itself or by the hook.
func (h *hookRun) isFailure(p *program) bool {
	if h.err == nil {
		return false
	}
	var exit *exec.ExitError
	together := time.Duration(0)
	if errors.As(h.err, &exit) && !exit.Exited() {
		together = togetherWith // PID 1 is seen to exit last in its namespace
	}
	select {
	case <-p.exited:
		return false
	case <-time.After(together):
	}
	select {
	case <-p.exited: // both were so
		return false
	default:
		return true
	}
}

// togetherWith is how much later than its hook a program may be seen to exit on a busy machine,
// though both ended together. Only a hook that was killed by someone else is given that long.
const togetherWith = 5 * time.Second

// hook runs the hook of a container and returns how long it took of the grace period. The parameter
// wait waits for it: it returns when the hook has ended or the grace period is over.
func (r *rehearsal) hook(p *program, whose string, grace int64, wait func(*hookRun) error) (time.Duration, error) {
	h := p.container.PreStop
	r.say("preStop", "%s%s", whose, h)
	run := beginHook(p, h)
	run.whose, run.grace = whose, grace
	r.noting.Lock()
	r.hooks = append(r.hooks, run)
	r.noting.Unlock()
	err := wait(run)
	select {
	case <-run.ended:
	default:
		if err == nil {
			run.overran = true
			r.say("preStop overran", "%sit has used up the grace, and goes on: the signal comes now, and two seconds are left", whose)
		}
		return hookPatience(grace), err
	}
	if run.failed = run.isFailure(p); run.failed {
		r.say("preStop failed", "%s%v after %.2f s; the stop goes on", whose, run.err, run.took.Seconds())
	} else {
		r.say("preStop ended", "%safter %.2f s", whose, run.took.Seconds())
	}
	return run.took, err
}

// judgeHooks adds the findings about preStop hooks.
func (r *rehearsal) judgeHooks(add adder) {
	for _, run := range r.hooks {
		switch {
		case run.overran:
			add(HookOverruns, true, "%sit had not ended after %d s, when the grace was over: 2 s were left for the program", run.whose, run.grace)
		case run.failed:
			add(HookFails, true, "%s%v, %.2f s after it was started", run.whose, run.err, run.took.Seconds())
		case lessOf(run.grace, run.took) < minimumGrace && run.grace >= minimumGrace:
			add(HookOverruns, true, "%sit took %.2f s of a grace of %d s: 2 s were left for the program", run.whose, run.took.Seconds(), run.grace)
		}
	}
}
