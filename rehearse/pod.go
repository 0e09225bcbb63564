package rehearse

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Container is one program of a pod, as its manifest and its image describe it.
type Container struct {
	// Name is the container's name in messages. It may be empty for a program without sidecars.
	Name string
	// Command is the program with its arguments.
	Command []string
	// Dir is the working directory, empty for that of this process. Env has the variables, each as
	// NAME=VALUE, that are added to the environment of this process, or to that of the Image.
	Dir string
	Env []string
	// Image is the unpacked image that the program runs in, nil for this machine's file system.
	Image *Image
	// PreStop is the hook that runs before the stop signal, nil for none.
	PreStop *Hook
	// StopSignal is SIGTERM if it is 0. Its number is that on Linux, as from ParseSignal.
	StopSignal syscall.Signal
	// Startup, Readiness and Liveness are probed repeatedly while the program runs, as the kubelet
	// does: Startup before the others, Readiness until the program has exited, and Liveness until the
	// pod is deleted. Each may be nil.
	Startup, Readiness, Liveness *Probe

	// reports is the directory for a diagnostic report of Node.js, empty for none. It is made when a
	// report is asked for.
	reports string
}

// Image is an unpacked container image.
type Image struct {
	// Name names the image in the report. It may be empty.
	Name string
	// Root is the directory that holds its files.
	Root string
	// User, Group and Groups are the ids that the program runs with.
	User, Group int
	Groups      []int
	// Env is the whole environment, to which Container.Env is added. Nothing is inherited from this
	// process.
	Env []string
}

// Hook is a preStop hook. Exactly one of its fields is set.
type Hook struct {
	// Exec is a command that runs in the container, without a shell.
	Exec []string
	// HTTPGet is a request. The hook succeeds whatever the answer is.
	HTTPGet *HTTPGet
	// Sleep is how long the hook sleeps. With 0 it ends at once.
	Sleep *time.Duration
}

// Probe is a check that runs repeatedly. Exactly one of Exec, HTTPGet, TCP and GRPC is set.
type Probe struct {
	// Exec is a command that runs in the container, without a shell, and succeeds with exit code 0.
	Exec []string
	// HTTPGet is a request that succeeds with a status of 200 to 399.
	HTTPGet *HTTPGet
	// TCP is a port that must accept a connection.
	TCP int
	// GRPC is a request of the gRPC health protocol.
	GRPC *GRPC
	// InitialDelay, Period, Timeout and the thresholds are as in a manifest. 0 means the default of
	// Kubernetes: no delay, 10 s, 1 s, one success and three failures.
	InitialDelay, Period, Timeout      time.Duration
	SuccessThreshold, FailureThreshold int
	// Grace is the terminationGracePeriodSeconds of the probe. It replaces the pod's when the kubelet
	// kills the container because of this probe. Nil means the pod's.
	Grace *time.Duration
}

// HTTPGet is a request of a hook or a probe.
type HTTPGet struct {
	// Scheme is http if it is empty, and Host is loopback if it is empty. A certificate is not
	// verified.
	Scheme, Host string
	Port         int
	Path         string
	Header       http.Header
}

// GRPC is a request of the gRPC health protocol, without TLS.
type GRPC struct {
	// Port is a port of the container.
	Port int
	// Service is the name of the service to check, empty for the server as a whole.
	Service string
}

// any reports whether the program or a sidecar satisfies a condition.
func (c *Config) any(is func(*Container) bool) bool {
	if is(&c.Program) {
		return true
	}
	for i := range c.Sidecars {
		if is(&c.Sidecars[i]) {
			return true
		}
	}
	return false
}

// kindOfProbe is a probe with its purpose.
type kindOfProbe struct {
	*Probe
	kind probeKind
}

// probes returns the probes that the container has.
func (c *Container) probes() []kindOfProbe {
	all := []kindOfProbe{{c.Startup, startup}, {c.Readiness, readiness}, {c.Liveness, liveness}}
	return slices.DeleteFunc(all, func(one kindOfProbe) bool { return one.Probe == nil })
}

func hasHook(c *Container) bool      { return c.PreStop != nil }
func hasReadiness(c *Container) bool { return c.Readiness != nil }
func mustStart(c *Container) bool    { return c.Liveness != nil || c.Startup != nil }

// completePod checks the containers and fills in the defaults.
func (c *Config) completePod() error {
	errs := []error{c.completeContainer(&c.Program)}
	c.Sidecars = slices.Clone(c.Sidecars)
	for i := range c.Sidecars {
		s := &c.Sidecars[i]
		if s.Name == "" {
			s.Name = strconv.Itoa(i + 1)
		}
		if len(s.Command) == 0 {
			errs = append(errs, fmt.Errorf("rehearse: the sidecar %s has no command", s.Name))
		}
		errs = append(errs, c.completeContainer(s))
	}
	return errors.Join(errs...)
}

func (c *Config) completeContainer(one *Container) error {
	if one.StopSignal == 0 {
		one.StopSignal = syscall.SIGTERM
	}
	var errs []error
	if h := one.PreStop; h != nil {
		errs = append(errs, h.check(c.AnyHost))
	}
	for _, b := range one.probes() {
		if err := b.check(b.kind, c.AnyHost); err != nil {
			errs = append(errs, fmt.Errorf("rehearse: the %s probe of the %s: %w", b.kind, one.title(), err))
		}
	}
	return errors.Join(errs...)
}

// title is the name of the container in an error.
func (c *Container) title() string {
	if c.Name == "" {
		return "program"
	}
	return "container " + c.Name
}

// check returns an error if a hook is invalid.
func (h *Hook) check(anyHost bool) error {
	switch given := count(len(h.Exec) > 0, h.HTTPGet != nil, h.Sleep != nil); {
	case given != 1:
		return fmt.Errorf("rehearse: a preStop hook is a command, a request or a sleep: one of them, and not %d", given)
	case h.Sleep != nil && *h.Sleep < 0:
		return errors.New("rehearse: a preStop hook cannot sleep for less than no time")
	case h.HTTPGet != nil:
		if err := h.HTTPGet.check(anyHost); err != nil {
			return fmt.Errorf("rehearse: the preStop hook: %w", err)
		}
	}
	return nil
}

// check returns an error if the API server would reject a probe.
func (b *Probe) check(kind probeKind, anyHost bool) error {
	if given := count(len(b.Exec) > 0, b.HTTPGet != nil, b.TCP != 0, b.GRPC != nil); given != 1 {
		return fmt.Errorf("it is a command, a request, a port or a question by gRPC: one of them, and not %d", given)
	}
	switch {
	case b.InitialDelay < 0 || b.Period < 0 || b.Timeout < 0 || b.SuccessThreshold < 0 || b.FailureThreshold < 0:
		return errors.New("its times and thresholds must not be negative")
	case b.SuccessThreshold > 1 && kind != readiness:
		return fmt.Errorf("its success threshold must be 1, and is %d", b.SuccessThreshold)
	case b.Grace != nil && kind == readiness:
		return errors.New("it has no grace of its own: it does not stop the container")
	case b.Grace != nil && *b.Grace < time.Second:
		return errors.New("its own grace must be a second at least")
	case b.HTTPGet != nil:
		return b.HTTPGet.check(anyHost)
	case b.GRPC != nil:
		return checkPort(b.GRPC.Port)
	case b.TCP != 0:
		return checkPort(b.TCP)
	}
	return nil
}

// check returns an error if a request is invalid. It may go only to the program itself.
func (g *HTTPGet) check(anyHost bool) error {
	if scheme := strings.ToLower(g.Scheme); scheme != "" && scheme != "http" && scheme != "https" {
		return fmt.Errorf("a scheme is http or https, and not %q", g.Scheme)
	}
	if ip := net.ParseIP(g.Host); !anyHost && g.Host != "" && g.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is not this machine's loopback: what a rehearsal asks is for the program that it has started", g.Host)
	}
	return checkPort(g.Port)
}

func checkPort(port int) error {
	if port < 1 || port > math.MaxUint16 {
		return fmt.Errorf("%d is no port", port)
	}
	return nil
}

// count returns how many of the arguments are true.
func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}
