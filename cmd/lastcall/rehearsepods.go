//go:build !norehearse

package main

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/lastcall-go/lastcall/rehearse"
)

// podFlags are the flags for what a pod's manifest says about hooks, probes and sidecars.
type podFlags struct {
	preStop                      string
	startup, readiness, liveness string
	period                       time.Duration
	sidecars                     []string
}

// flags adds the flags.
func (p *podFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&p.preStop, "pre-stop", "", "the preStop hook: a command of /bin/sh, a URL, or sleep:DURATION for the kubelet's own sleep")
	f.StringVar(&p.readiness, "readiness", "", "the readiness probe: http://127.0.0.1:8080/readyz, tcp://:8080, grpc://:9090/SERVICE, or a command of /bin/sh")
	f.StringVar(&p.liveness, "liveness", "", "the liveness probe, in the same way")
	f.StringVar(&p.startup, "startup", "", "the startup probe, in the same way")
	f.DurationVar(&p.period, "probe-period", time.Second, "how often these probes are run")
	f.StringArrayVar(&p.sidecars, "sidecar", nil, "a sidecar, a command of /bin/sh: started before the program and stopped after it; may be given several times")
}

// apply puts the values of the flags into the configuration of a rehearsal. It leaves alone what no
// flag sets.
func (p *podFlags) apply(c *rehearse.Config) error {
	if p.preStop != "" {
		hook, err := preStopHook(p.preStop)
		if err != nil {
			return usageError{fmt.Errorf("--pre-stop: %w", err)}
		}
		c.Program.PreStop = hook
	}
	for _, one := range []struct {
		flag, text string
		to         **rehearse.Probe
	}{
		{"readiness", p.readiness, &c.Program.Readiness},
		{"liveness", p.liveness, &c.Program.Liveness},
		{"startup", p.startup, &c.Program.Startup},
	} {
		if one.text == "" {
			continue
		}
		probe, err := p.probe(one.text)
		if err != nil {
			return usageError{fmt.Errorf("--%s: %w", one.flag, err)}
		}
		*one.to = probe
	}
	for _, command := range p.sidecars {
		// The shell becomes the command, so that the stop signal reaches it.
		c.Sidecars = append(c.Sidecars, rehearse.Container{Command: []string{"/bin/sh", "-c", "exec " + command}})
	}
	return nil
}

// preStopHook parses a hook.
func preStopHook(text string) (*rehearse.Hook, error) {
	if seconds, ok := strings.CutPrefix(text, "sleep:"); ok {
		d, err := time.ParseDuration(seconds)
		if err != nil {
			return nil, fmt.Errorf("%q is no time to sleep, like sleep:5s", text)
		}
		return &rehearse.Hook{Sleep: &d}, nil
	}
	if u, port, err := address(text); err != nil {
		return nil, err
	} else if u != nil && (u.Scheme == "http" || u.Scheme == "https") {
		return &rehearse.Hook{HTTPGet: httpGet(u, port)}, nil
	}
	return &rehearse.Hook{Exec: []string{"/bin/sh", "-c", text}}, nil
}

// probe parses a probe.
func (p *podFlags) probe(text string) (*rehearse.Probe, error) {
	probe := &rehearse.Probe{Period: p.period}
	u, port, err := address(text)
	switch {
	case err != nil:
		return nil, err
	case u == nil:
		probe.Exec = []string{"/bin/sh", "-c", text}
	case u.Scheme == "tcp":
		probe.TCP = port
	case u.Scheme == "grpc":
		probe.GRPC = &rehearse.GRPC{Port: port, Service: strings.TrimPrefix(u.Path, "/")}
	default:
		probe.HTTPGet = httpGet(u, port)
	}
	return probe, nil
}

// address parses a text that begins like an address. It returns nil for any other text, which is a
// command.
func address(text string) (*url.URL, int, error) {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok || scheme != "http" && scheme != "https" && scheme != "tcp" && scheme != "grpc" {
		return nil, 0, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, 0, fmt.Errorf("%q has no port: it is like %s://127.0.0.1:8080", text, scheme)
	}
	if host := u.Hostname(); (scheme == "tcp" || scheme == "grpc") && host != "" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return nil, 0, fmt.Errorf("%q: a probe by %s asks this machine's loopback", text, scheme)
	}
	return u, port, nil
}

// httpGet builds the request for an address.
func httpGet(u *url.URL, port int) *rehearse.HTTPGet {
	return &rehearse.HTTPGet{Scheme: u.Scheme, Host: u.Hostname(), Port: port, Path: u.RequestURI()}
}
