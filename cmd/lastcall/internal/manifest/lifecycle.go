package manifest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/lastcall-go/lastcall/rehearse"
)

// lifecycle sets the hook, the stop signal and the probes of a container.
func (p *Plan) lifecycle(to *rehearse.Container, c *core.Container) error {
	if l := c.Lifecycle; l != nil {
		if l.StopSignal != nil {
			// check has refused invalid signals.
			to.StopSignal, _ = rehearse.ParseSignal(string(*l.StopSignal))
		}
		if l.PreStop != nil {
			hook, err := p.hook(c, l.PreStop)
			if err != nil {
				return err
			}
			to.PreStop = hook
		}
	}
	into := map[string]**rehearse.Probe{"startupProbe": &to.Startup, "readinessProbe": &to.Readiness, "livenessProbe": &to.Liveness}
	for _, one := range probesOf(c) {
		probe, err := p.probe(c, one.name, one.probe)
		if err != nil {
			return err
		}
		*into[one.name] = probe
	}
	return nil
}

// namedProbe is a probe with the name of its field.
type namedProbe struct {
	name  string
	probe *core.Probe
}

// probesOf returns the probes that a container has.
func probesOf(c *core.Container) []namedProbe {
	all := []namedProbe{{"startupProbe", c.StartupProbe}, {"readinessProbe", c.ReadinessProbe}, {"livenessProbe", c.LivenessProbe}}
	return slices.DeleteFunc(all, func(one namedProbe) bool { return one.probe == nil })
}

// hook converts a preStop hook.
func (p *Plan) hook(c *core.Container, h *core.LifecycleHandler) (*rehearse.Hook, error) {
	switch {
	case h.Exec != nil:
		return &rehearse.Hook{Exec: p.words("preStop", h.Exec.Command)}, nil
	case h.HTTPGet != nil:
		get, err := p.httpGet(c, h.HTTPGet)
		if err != nil {
			return nil, p.workload.errorAt(p.workload.pathOf(c)+".lifecycle.preStop", "preStop: %w", err)
		}
		return &rehearse.Hook{HTTPGet: get}, nil
	default: // sleep: check has refused everything else
		d := time.Duration(h.Sleep.Seconds) * time.Second
		return &rehearse.Hook{Sleep: &d}, nil
	}
}

// probe converts a probe of a container.
func (p *Plan) probe(c *core.Container, what string, from *core.Probe) (*rehearse.Probe, error) {
	seconds := func(n int32) time.Duration { return time.Duration(n) * time.Second }
	to := &rehearse.Probe{
		InitialDelay: seconds(from.InitialDelaySeconds), Period: seconds(from.PeriodSeconds), Timeout: seconds(from.TimeoutSeconds),
		SuccessThreshold: int(from.SuccessThreshold), FailureThreshold: int(from.FailureThreshold),
	}
	if s := from.TerminationGracePeriodSeconds; s != nil {
		d := time.Duration(*s) * time.Second
		to.Grace = &d
	}
	var err error
	switch {
	case from.Exec != nil:
		var command []string // unlike that of a hook it is expanded by the kubelet
		for _, word := range from.Exec.Command {
			command = append(command, p.expand(word))
		}
		to.Exec = p.words(what, command)
	case from.HTTPGet != nil:
		to.HTTPGet, err = p.httpGet(c, from.HTTPGet)
	case from.TCPSocket != nil:
		to.TCP, err = portOf(c, from.TCPSocket.Port)
	default: // grpc: check has refused everything else
		to.GRPC = &rehearse.GRPC{Port: int(from.GRPC.Port)}
		if from.GRPC.Service != nil {
			to.GRPC.Service = *from.GRPC.Service
		}
	}
	if err != nil {
		return nil, p.workload.errorAt(p.workload.pathOf(c)+"."+what, "%s: %w", what, err)
	}
	return to, nil
}

// httpGet converts the request of a hook or a probe.
func (p *Plan) httpGet(c *core.Container, from *core.HTTPGetAction) (*rehearse.HTTPGet, error) {
	port, err := portOf(c, from.Port)
	if err != nil {
		return nil, err
	}
	to := &rehearse.HTTPGet{Scheme: strings.ToLower(string(from.Scheme)), Host: from.Host, Port: port, Path: from.Path}
	for _, h := range from.HTTPHeaders {
		if to.Header == nil {
			to.Header = make(http.Header)
		}
		to.Header.Add(h.Name, h.Value)
	}
	return to, nil
}

// portOf returns the number of a port, which may be given by the name of one of the container's
// ports.
func portOf(c *core.Container, port intstr.IntOrString) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String {
		for i := range c.Ports {
			if c.Ports[i].Name == port.StrVal {
				number = int(c.Ports[i].ContainerPort)
			}
		}
		if number == 0 {
			return 0, fmt.Errorf("container %s has no port of the name %q", c.Name, port.StrVal)
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("port %d must be between 1 and 65535", number)
	}
	return number, nil
}

// check returns an error for what the API server refuses, or the rehearsal cannot do.
func (w *Workload) check() error {
	if len(w.Pod.Containers) == 0 {
		return w.errorAt(w.pod, "%s has no containers", w)
	}
	if s := w.Pod.TerminationGracePeriodSeconds; s != nil && *s < 0 {
		return w.errorAt(w.pod+".terminationGracePeriodSeconds", "terminationGracePeriodSeconds is %d and must not be negative", *s)
	}
	var all []error
	seen := make(map[string]bool)
	for _, c := range w.everyContainer() {
		if c.Name == "" {
			all = append(all, w.errorAt(w.pathOf(c), "the container has no name"))
		} else if seen[c.Name] {
			all = append(all, w.errorAt(w.pathOf(c), "each container must have a name of its own, and there are two of %q", c.Name))
		}
		seen[c.Name] = true
		all = append(all, w.checkContainer(c))
	}
	return errors.Join(all...)
}

func (w *Workload) checkContainer(c *core.Container) error {
	at := w.pathOf(c)
	if l := c.Lifecycle; l != nil {
		if s := l.StopSignal; s != nil {
			if _, err := rehearse.ParseSignal(string(*s)); err != nil {
				return w.errorAt(at+".lifecycle.stopSignal", "stopSignal: %w", err)
			}
		}
		if h := l.PreStop; h != nil {
			if n := count(h.Exec != nil, h.HTTPGet != nil, h.Sleep != nil); n != 1 || h.TCPSocket != nil {
				return w.errorAt(at+".lifecycle.preStop", "preStop must be one of exec, httpGet and sleep")
			}
			if h.Exec != nil && len(h.Exec.Command) == 0 {
				return w.errorAt(at+".lifecycle.preStop.exec", "preStop has no command")
			}
			if h.Sleep != nil && h.Sleep.Seconds < 0 {
				return w.errorAt(at+".lifecycle.preStop.sleep", "preStop must not sleep for a negative time")
			}
		}
	}
	for _, one := range probesOf(c) {
		what, probe := one.name, one.probe
		if count(probe.Exec != nil, probe.HTTPGet != nil, probe.TCPSocket != nil, probe.GRPC != nil) != 1 {
			return w.errorAt(at+"."+what, "%s must be one of exec, httpGet, tcpSocket and grpc", what)
		}
		if probe.Exec != nil && len(probe.Exec.Command) == 0 {
			return w.errorAt(at+"."+what+".exec", "%s has no command", what)
		}
		for _, n := range []int32{probe.InitialDelaySeconds, probe.PeriodSeconds, probe.TimeoutSeconds, probe.SuccessThreshold, probe.FailureThreshold} {
			if n < 0 {
				return w.errorAt(at+"."+what, "the times and thresholds of %s must not be negative", what)
			}
		}
	}
	return nil
}

func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

// everyContainer returns the containers and the init containers.
func (w *Workload) everyContainer() (all []*core.Container) {
	for i := range w.Pod.InitContainers {
		all = append(all, &w.Pod.InitContainers[i])
	}
	for i := range w.Pod.Containers {
		all = append(all, &w.Pod.Containers[i])
	}
	return all
}

// pathOf returns the path of a container in the document.
func (w *Workload) pathOf(c *core.Container) string {
	for i := range w.Pod.InitContainers {
		if &w.Pod.InitContainers[i] == c {
			return fmt.Sprintf("%s.initContainers[%d]", w.pod, i)
		}
	}
	for i := range w.Pod.Containers {
		if &w.Pod.Containers[i] == c {
			return fmt.Sprintf("%s.containers[%d]", w.pod, i)
		}
	}
	return w.pod
}
