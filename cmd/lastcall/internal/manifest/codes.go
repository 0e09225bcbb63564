package manifest

import (
	"maps"
	"slices"

	"github.com/lastcall-go/lastcall/rehearse"
)

// The findings that need no rehearsal. Findings that a rehearsal can have too use its codes: LC111,
// LC112 and LC118.
const (
	// Budget: a time limit of the program itself is longer than what the grace leaves it.
	Budget rehearse.Code = "LC201"
	// NoGrace: the pod is given no time to end.
	NoGrace rehearse.Code = "LC202"
	// BelowShell: the program is started by a shell, or a tool, that does not pass the signal on.
	BelowShell rehearse.Code = "LC203"
	// BadSignal: the stop signal cannot be handled, or is not the one that is sent.
	BadSignal rehearse.Code = "LC204"
	// NoReadiness: no probe shows when a pod can answer.
	NoReadiness rehearse.Code = "LC205"
	// SameProbe: the liveness probe makes the same request as the readiness probe, and is no more
	// patient.
	SameProbe rehearse.Code = "LC206"
	// SharedFile: several pods share one SQLite file.
	SharedFile rehearse.Code = "LC207"
	// NoBudget: no PodDisruptionBudget protects the pods in a drain.
	NoBudget rehearse.Code = "LC208"
	// NoEviction: a PodDisruptionBudget allows no eviction at all.
	NoEviction rehearse.Code = "LC209"
	// TwoAtOnce: a Job's pod is replaced while it is still running.
	TwoAtOnce rehearse.Code = "LC210"
	// DrainFails: a Job counts the drain of a node as a failure, and is not retried.
	DrainFails rehearse.Code = "LC211"
	// AlwaysReady: a Service sends clients to pods that are not ready.
	AlwaysReady rehearse.Code = "LC212"
	// AllAtOnce: a rollout may end all pods before a new one is ready.
	AllAtOnce rehearse.Code = "LC213"
	// Refused: the kubelet does not start the container, since its user is root or may be.
	Refused rehearse.Code = "LC214"
)

// meaning explains a code.
type meaning struct{ title, why, change string }

var meanings = map[rehearse.Code]meaning{
	Budget: {
		"gives itself more time than the grace leaves",
		"It is killed in the middle of the time that it believes it has: the preStop hook and the program share terminationGracePeriodSeconds.",
		"Give the program terminationGracePeriodSeconds less the preStop hook, less a second; or give the pod a longer grace.",
	},
	NoGrace: {
		"has no time to end",
		"With a grace of 0 or 1 the kubelet waits two seconds and kills it, with whatever it was doing; a Compose service with a grace of 0 is killed at once.",
		"Set terminationGracePeriodSeconds (stop_grace_period in Compose) to what the longest request and the preStop hook take together, and a few seconds.",
	},
	BelowShell: {
		"is started by a shell or a tool that does not pass the signal on",
		"The stop signal goes to PID 1 alone. A shell there waits for its child and ignores the signal, so that the program runs on until it is killed.",
		"Write exec before the last command, as in sh -c 'prepare && exec ./server'; or start the program itself, node server.js in place of npm start.",
	},
	BadSignal: {
		"has a stop signal that does not do its work",
		"SIGKILL and SIGSTOP cannot be handled. Kubernetes takes lifecycle.stopSignal only with spec.os.name.",
		"Use SIGTERM, or the signal that the program documents, and set spec.os.name: linux next to lifecycle.stopSignal.",
	},
	NoReadiness: {
		"does not say when it is ready",
		"Without a readiness probe a pod gets clients from the moment its process is started, and a rollout ends the old pods before the new ones can answer.",
		"Add a readinessProbe that answers what a client would ask for, without asking databases that all pods share.",
	},
	SameProbe: {
		"is restarted for what takes it out of the endpoints",
		"Liveness and readiness ask the same and are as patient: a pod that is only busy is restarted, at once with all others that wait for the same thing.",
		"Let liveness ask only whether the process is stuck; or give it a larger failureThreshold than readiness has.",
	},
	SharedFile: {
		"has several pods for one SQLite file",
		"SQLite's locks hold on one machine. Two pods on two nodes write into one file and damage it, or each has a file of its own.",
		"Use one replica, in a StatefulSet or a Deployment with strategy: {type: Recreate}; or a database server.",
	},
	NoBudget: {
		"has no PodDisruptionBudget",
		"When nodes are drained, for an upgrade of the cluster, all its pods may be evicted at the same time.",
		"Add a PodDisruptionBudget with maxUnavailable: 1 that selects its pods.",
	},
	NoEviction: {
		"has a PodDisruptionBudget that allows no eviction",
		"No drain of its node ever ends, until somebody deletes the pod by hand, or the platform kills it without asking.",
		"Set maxUnavailable: 1; for one replica leave the PodDisruptionBudget out.",
	},
	TwoAtOnce: {
		"is replaced while it is still running",
		"A pod that is deleted or evicted has its grace to finish in. Until then its replacement does the same work a second time.",
		"Set podReplacementPolicy: Failed, or a podFailurePolicy, which implies it.",
	},
	DrainFails: {
		"fails when its node is drained",
		"With backoffLimit: 0 an eviction is the one failure that the Job may have, though nothing is wrong with it.",
		"Set restartPolicy: Never and a podFailurePolicy with action: Ignore for onPodConditions of type DisruptionTarget.",
	},
	AlwaysReady: {
		"gets clients when it says that it is not ready",
		"publishNotReadyAddresses keeps the endpoint ready until the pod is gone, so that clients are sent to it for the whole of its stop.",
		"Leave publishNotReadyAddresses for a headless Service by which pods find each other, and give clients another one.",
	},
	AllAtOnce: {
		"may be gone as a whole in a rollout",
		"maxUnavailable allows all pods to be ended before a new one is ready: every deploy is an outage.",
		"Set maxUnavailable: 0 and maxSurge: 1.",
	},
	Refused: {
		"is not started, since its user is root or may be",
		"With runAsNonRoot the kubelet starts no container whose user is root or a name: the pod waits with CreateContainerConfigError, and a rollout with it.",
		"Give the image a USER that is a number, as in USER 65532; or set runAsUser in the securityContext.",
	},
}

// Codes returns all findings that only a manifest can have, in order.
func Codes() []rehearse.Code { return slices.Sorted(maps.Keys(meanings)) }

// Title describes a finding in a few words. Why explains in a sentence or two why it matters, and
// Change what to do about it. All three are empty for an unknown code.
func Title(c rehearse.Code) string {
	if m, ok := meanings[c]; ok {
		return m.title
	}
	return c.Title()
}

// Why explains why a finding matters.
func Why(c rehearse.Code) string {
	if m, ok := meanings[c]; ok {
		return m.why
	}
	return c.Why()
}

// Change explains what to do about a finding.
func Change(c rehearse.Code) string {
	if m, ok := meanings[c]; ok {
		return m.change
	}
	return c.Change()
}
