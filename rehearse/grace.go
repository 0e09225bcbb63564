package rehearse

import (
	"slices"
	"time"
)

// minimumGrace is the least time between the stop signal and SIGKILL, in seconds:
// minimumGracePeriodInSeconds of the kubelet (pkg/kubelet/kuberuntime/kuberuntime_manager.go,
// v1.37).
const minimumGrace = 2

// cause is why a container is stopped.
type cause int

const (
	// byAPI is a deletion: a rollout, a scale-down, a drain, the Eviction API, a taint, a preemption.
	byAPI cause = iota
	// byHardEviction is by the kubelet, when its node has run out of memory, disk or processes.
	byHardEviction
	// bySoftEviction is by the kubelet, when its node has been short of one of them for a while.
	bySoftEviction
	// byNodeShutdown is by the kubelet, when its node is shut down in an orderly way.
	byNodeShutdown
	// byProbe is by the kubelet, when a liveness or a startup probe has failed: only the container is
	// stopped, and it is started again.
	byProbe
)

// stopOrder is an order to stop a pod, as the kubelet receives it. Its seconds are whole, as all of
// the kubelet's are.
type stopOrder struct {
	cause cause
	// pod is the pod's terminationGracePeriodSeconds.
	pod int64
	// asked is the gracePeriodSeconds of a deletion, nil if it has none.
	asked *int64
	// limit is evictionMaxPodGracePeriod in a soft eviction. In a node shutdown it is
	// shutdownGracePeriod, or the grace period of the pod's priority.
	limit int64
	// probe is the one that has failed, if cause is byProbe.
	probe *Probe
	// onlyCopy is set if no other pod of the Service is ready when this one is deleted.
	onlyCopy bool
}

// removesEndpoint reports whether new clients go elsewhere from now on, after the lag: whether the
// API marks the pod as deleted, while another pod is ready. If none is, kube-proxy falls back to
// the endpoints that are deleted but still ready (pkg/proxy/topology.go, KEP-1669). In an eviction
// by the kubelet and in a node shutdown nobody marks the pod. The endpoint then stays until the
// program is not ready any more, or the container is gone.
func (o stopOrder) removesEndpoint() bool { return o.cause == byAPI && !o.onlyCopy }

// readinessGoesOn reports whether the readiness probe goes on until the container has exited. It
// does not in an eviction by the kubelet and in a node shutdown: there the kubelet itself already
// treats the pod as failed (doProbe in pkg/kubelet/prober/worker.go).
func (o stopOrder) readinessGoesOn() bool { return o.cause == byAPI || o.cause == byProbe }

// deletionGrace is the deletionGracePeriodSeconds that the API sets on a pod that is scheduled and
// has not ended (CheckGracefulDelete in pkg/registry/core/pod/strategy.go).
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

// effectiveGrace is the grace period that the kubelet gives a pod: the least of those that it
// received, or else the pod's own, and never less than a second (calculateEffectiveGracePeriod in
// pkg/kubelet/pod_workers.go).
func effectiveGrace(pod int64, told ...int64) int64 {
	if len(told) > 0 {
		pod = slices.Min(told)
	}
	return max(pod, 1)
}

// seconds is the grace period with which the stop of a container begins, its hook included.
func (o stopOrder) seconds() int64 {
	switch o.cause {
	case byHardEviction:
		return effectiveGrace(o.pod, 1)
	case bySoftEviction, byNodeShutdown:
		return effectiveGrace(o.pod, min(o.limit, o.pod))
	case byProbe:
		// As in setTerminationGracePeriod of pkg/kubelet/kuberuntime/kuberuntime_container.go: there is
		// no override here, so the grace period may be 0, and then there is no hook.
		if o.probe != nil && o.probe.Grace != nil {
			return int64(*o.probe.Grace / time.Second)
		}
		return o.pod
	case byAPI:
	}
	return effectiveGrace(o.pod, deletionGrace(o.pod, o.asked))
}

// hookPatience is how long the kubelet waits for a preStop hook, or for a sidecar's turn, before it
// goes on. The hook itself keeps running.
func hookPatience(grace int64) time.Duration { return time.Duration(grace) * time.Second }

// lessOf is what is left of a grace period after something has taken some time: whole seconds are
// subtracted, so 0.9 s cost nothing.
func lessOf(grace int64, took time.Duration) int64 { return grace - int64(took/time.Second) }

// untilKill is the time between the stop signal and SIGKILL, given what is left of the grace period
// (killContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go).
func untilKill(grace int64) time.Duration {
	return time.Duration(max(grace, minimumGrace)) * time.Second
}
