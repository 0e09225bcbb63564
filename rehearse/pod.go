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
	// Name is the container's name in messages. It may be empty for a program that is alone.
	Name string
	// Command is the program with its arguments.
	Command []string
	// Dir is the working directory, empty for that of this process. Env are the variables, each as
	// NAME=VALUE, that are added to this process's environment, or to that of the Image.
	Dir string
	Env []string
	// Image is what the program runs in, nil for this machine's file system.
	Image *Image
	// PreStop is the hook that runs before the stop signal, nil for none.
	PreStop *Hook
	// StopSignal is SIGTERM if it is 0.
	StopSignal syscall.Signal
	// Startup, Readiness and Liveness are asked again and again while the program runs, as the
	// kubelet asks them: Startup before the others, Readiness until the program has ended, and
	// Liveness until the pod is deleted. Each may be nil.
	Startup, Readiness, Liveness *Probe
}

// Image is an unpacked image of a container.
type Image struct {
	// Root is the directory that holds its files.
	Root string
	// User, Group and Groups are whose rights the program has.
	User, Group int
	Groups      []int
	// Env is the whole environment, to which Container.Env is added: nothing of this process's.
	Env []string
}

// Hook is a preStop hook. Exactly one of its fields is set.
type Hook struct {
	// Exec is a command that runs in the container, without a shell of its own.
	Exec []string
	// HTTPGet is a request. Whatever is answered, the hook has succeeded.
	HTTPGet *HTTPGet
	// Sleep is how long nothing happens. 0 is a hook too, that ends at once.
	Sleep *time.Duration
}

// Probe is asked again and again. Exactly one of Exec, HTTPGet, TCP and GRPC is set.
type Probe struct {
	// Exec is a command that runs in the container, without a shell of its own, and succeeds with
	// exit code 0.
	Exec []string
	// HTTPGet is a request that succeeds with a status of 200 to 399.
	HTTPGet *HTTPGet
	// TCP is a port that accepts a connection.
	TCP int
	// GRPC is a question of the gRPC health protocol.
	GRPC *GRPC
	// InitialDelay, Period, Timeout and the thresholds are as in a manifest. 0 means what Kubernetes
	// takes then: no delay, 10 s, 1 s, one success and three failures.
	InitialDelay, Period, Timeout      time.Duration
	SuccessThreshold, FailureThreshold int
	// Grace is the terminationGracePeriodSeconds of the probe, which takes the place of the pod's
	// when this probe has the container killed. Nil means the pod's.
	Grace *time.Duration
}

// HTTPGet is a request of a hook or a probe.
type HTTPGet struct {
	// Scheme is http if it is empty, Host loopback. A certificate is not verified.
	Scheme, Host string
	Port         int
	Path         string
	Header       http.Header
}

// GRPC is a question of the gRPC health protocol, in plain text.
type GRPC struct {
	// Port is that of the container.
	Port int
	// Service is the name that is asked for, empty for the server as a whole.
	Service string
}

// any reports whether something is so of the program or a sidecar.
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

// kindOfProbe is a probe with what it is for.
type kindOfProbe struct {
	*Probe
	kind probeKind
}

// probes are those that the container has.
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

// title is what the container is called in an error.
func (c *Container) title() string {
	if c.Name == "" {
		return "program"
	}
	return "container " + c.Name
}

// check says what is wrong with a hook.
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

// check says what is wrong with a probe, as the API server does.
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

// check says what is wrong with a request. It is for the program alone.
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

// count counts what is true.
func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}
