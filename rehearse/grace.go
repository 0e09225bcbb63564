package rehearse

import "time"

// minimumGrace is what is left at least between the stop signal and SIGKILL, in seconds:
// minimumGracePeriodInSeconds of the kubelet (pkg/kubelet/kuberuntime/kuberuntime_manager.go, v1.37).
const minimumGrace = 2

// cause is why a container is stopped.
type cause int

const (
	// byAPI is a deletion: a rollout, a scale-down, a drain, the Eviction API, a taint, a preemption.
	byAPI cause = iota
	// byHardEviction is the kubelet's when its node has run out of memory, disk or processes.
	byHardEviction
	// bySoftEviction is the kubelet's when its node has been short of one of them for a while.
	bySoftEviction
	// byNodeShutdown is the kubelet's when its node is shut down in an orderly way.
	byNodeShutdown
	// byProbe is the kubelet's when a liveness or a startup probe has failed: the container alone is
	// stopped, and started again.
	byProbe
)

// stopOrder is a stop as the kubelet is told of it. Its seconds are whole, as all of the kubelet's
// are.
type stopOrder struct {
	cause cause
	// pod is the pod's terminationGracePeriodSeconds.
	pod int64
	// asked is the gracePeriodSeconds of a deletion, nil where nobody gave it.
	asked *int64
	// limit is evictionMaxPodGracePeriod in a soft eviction, and shutdownGracePeriod, or that of the
	// pod's priority, in a node's shutdown.
	limit int64
	// probe has failed, where cause is byProbe.
	probe *Probe
}

// deletes reports whether the API marks the pod as deleted, which takes its endpoint away. In an
// eviction by the kubelet and in a node's shutdown nobody does, and the endpoint stays until the
// containers are gone.
func (o stopOrder) deletes() bool { return o.cause == byAPI }

// readinessGoesOn reports whether the readiness probe goes on until the container has ended. It does
// not in an eviction by the kubelet and in a node's shutdown: there the pod has failed already, for
// the kubelet alone (doProbe in pkg/kubelet/prober/worker.go).
func (o stopOrder) readinessGoesOn() bool { return o.cause == byAPI || o.cause == byProbe }

// deletionGrace is the deletionGracePeriodSeconds that the API gives a pod that is scheduled and has
// not ended (CheckGracefulDelete in pkg/registry/core/pod/strategy.go).
func deletionGrace(pod int64, asked *int64) int64 {
	grace := pod
	if asked != nil {
		grace = *asked
	}
	if grace < 0 {
		return 1
	}
	return grace
}

// effectiveGrace is what the kubelet gives a pod: the least of what it is told, else what the pod
// asks for, and never less than a second (calculateEffectiveGracePeriod in pkg/kubelet/pod_workers.go).
func effectiveGrace(pod int64, told ...int64) int64 {
	grace, any := pod, false
	for _, one := range told {
		if !any || one < grace {
			grace, any = one, true
		}
	}
	return max(grace, 1)
}

// seconds is the grace with which a container begins to be stopped, its hook included.
func (o stopOrder) seconds() int64 {
	switch o.cause {
	case byHardEviction:
		return effectiveGrace(o.pod, 1)
	case bySoftEviction, byNodeShutdown:
		return effectiveGrace(o.pod, min(o.limit, o.pod))
	case byProbe:
		// setTerminationGracePeriod in pkg/kubelet/kuberuntime/kuberuntime_container.go: no override here,
		// so that it may be 0, and then there is no hook.
		if o.probe != nil && o.probe.Grace != nil {
			return int64(*o.probe.Grace / time.Second)
		}
		return o.pod
	case byAPI:
	}
	return effectiveGrace(o.pod, deletionGrace(o.pod, o.asked))
}

// hookPatience is for how long the kubelet waits for a preStop hook, or for a sidecar's turn, before
// it goes on. The hook is not ended.
func hookPatience(grace int64) time.Duration { return time.Duration(grace) * time.Second }

// lessOf is what is left of a grace when something has taken so long: whole seconds are taken off, so
// that 0.9 s cost nothing.
func lessOf(grace int64, took time.Duration) int64 { return grace - int64(took/time.Second) }

// untilKill is the time between the stop signal and SIGKILL, of what is left of the grace
// (killContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go).
func untilKill(grace int64) time.Duration {
	return time.Duration(max(grace, minimumGrace)) * time.Second
}
