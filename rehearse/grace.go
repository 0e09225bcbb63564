package rehearse

import "time"

// minimumGrace is what is left at least between the stop signal and SIGKILL, in seconds:
// minimumGracePeriodInSeconds of the kubelet (pkg/kubelet/kuberuntime/kuberuntime_manager.go, v1.37).
const minimumGrace = 2

// graceSeconds is the grace with which the kubelet begins to stop a pod, hooks included, from its
// terminationGracePeriodSeconds: what was asked for, and never less than a second
// (calculateEffectiveGracePeriod in pkg/kubelet/pod_workers.go).
func graceSeconds(s Scenario, pod int64) int64 {
	switch s {
	case ForceDelete, HardEviction:
		return 1
	case Delete:
	}
	return max(pod, 1)
}

// hookPatience is for how long the kubelet waits for a preStop hook before it sends the stop signal
// all the same. The hook is not ended.
func hookPatience(grace int64) time.Duration { return time.Duration(grace) * time.Second }

// afterHook is what is left of the grace for the process when the hook has taken so long: whole
// seconds are taken off, so that 0.9 s cost nothing, and two seconds are left in any case
// (killContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go).
func afterHook(grace int64, took time.Duration) time.Duration {
	return time.Duration(max(grace-int64(took/time.Second), minimumGrace)) * time.Second
}
