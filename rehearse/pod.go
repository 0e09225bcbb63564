package rehearse

import (
	"net/http"
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
