package manifest

import (
	"regexp"
	"slices"
	"strings"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// workloads checks what concerns all pods of a workload.
func (x *examination) checkWorkload() {
	w := x.workload
	if grace := w.seconds(); grace < 2 {
		x.say(NoGrace, true, w.place(w.pod+".terminationGracePeriodSeconds"), "the grace is %d s", grace)
	}
	x.sqlite()
	if w.compose {
		return // nothing sends clients or evicts
	}
	x.readiness()
	x.disruption()
	x.rollout()
	x.job()
}

// readiness finds pods that get clients but do not show whether they are ready for them.
func (x *examination) readiness() {
	w := x.workload
	if w.job != nil {
		return
	}
	served := false
	for _, s := range x.set.services {
		if !w.selectedBy(s.object.Spec.Selector, s.object.Namespace) {
			continue
		}
		served = true
		if s.object.Spec.PublishNotReadyAddresses && s.object.Spec.ClusterIP != core.ClusterIPNone {
			x.say(AlwaysReady, false, s.place("spec.publishNotReadyAddresses"), "Service %s has publishNotReadyAddresses", s.object.Name)
		}
	}
	for i := range w.Pod.Containers {
		c := &w.Pod.Containers[i]
		if c.ReadinessProbe != nil {
			return
		}
		served = served || len(c.Ports) > 0 && w.Kind != "Pod"
	}
	if served {
		x.say(NoReadiness, false, w.place(w.pod+".containers"), "no container has a readinessProbe, and clients are sent to the pod")
	}
}

// sqlite finds several pods that share one file.
func (x *examination) sqlite() {
	w := x.workload
	place, word := x.mentionsSQLite()
	switch {
	case place == "":
	case w.Replicas > 1:
		x.say(SharedFile, true, place, "%d replicas, and %s", w.Replicas, word)
	case w.Kind == "Deployment" && !w.recreates && w.Replicas > 0:
		x.say(SharedFile, false, place, "a rollout of a Deployment starts the new pod before the old one has ended, and %s", word)
	}
}

// mentionsSQLite returns where a container is configured with an SQLite file, and how.
func (x *examination) mentionsSQLite() (place, word string) {
	w := x.workload
	for i := range w.Pod.Containers {
		c := &w.Pod.Containers[i]
		for _, one := range append(slices.Clone(c.Command), c.Args...) {
			if sqliteFile.MatchString(one) {
				return w.place(w.pathOf(c)), "an argument is " + one
			}
		}
		for j := range c.Env {
			if sqliteFile.MatchString(c.Env[j].Value) {
				return w.place(w.pathOf(c) + ".env"), c.Env[j].Name + " is " + c.Env[j].Value
			}
		}
	}
	return "", ""
}

// sqliteFile matches the address or the name of an SQLite file. A database in memory is not shared,
// and does not match.
var sqliteFile = regexp.MustCompile(`(?i)\bsqlite3?:(?://)?[^:\s]*[^:\s/]|\.sqlite3?\b`)

// disruption compares a PodDisruptionBudget with the number of pods.
func (x *examination) disruption() {
	w := x.workload
	if !slices.Contains([]string{"Deployment", "StatefulSet", "ReplicaSet"}, w.Kind) || w.Replicas == 0 {
		return
	}
	guarded := false
	for _, b := range x.set.budgets {
		if !w.matched(b.object.Spec.Selector, b.object.Namespace) {
			continue
		}
		guarded = true
		least, most := b.object.Spec.MinAvailable, b.object.Spec.MaxUnavailable
		if most != nil && share(*most, w.Replicas) == 0 || least != nil && share(*least, w.Replicas) >= w.Replicas {
			x.say(NoEviction, true, b.place("spec"), "PodDisruptionBudget %s lets none of %d pods go", b.object.Name, w.Replicas)
		}
	}
	if !guarded && w.Replicas > 1 {
		x.say(NoBudget, false, w.place(""), "no PodDisruptionBudget of the manifest selects its %d pods", w.Replicas)
	}
}

// share returns a number of pods. A percentage is rounded up, as the API server does it.
func share(n intstr.IntOrString, of int) int {
	scaled, err := intstr.GetScaledValueFromIntOrPercent(&n, of, true)
	if err != nil {
		return -1
	}
	return scaled
}

// matched reports whether a label selector selects the workload's pods.
func (w *Workload) matched(selector *meta.LabelSelector, namespace string) bool {
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil || namespace != "" && w.Namespace != "" && namespace != w.Namespace {
		return false
	}
	return s.Matches(labels.Set(w.Labels))
}

// rollout finds a rollout that may end all pods.
func (x *examination) rollout() {
	w := x.workload
	if w.unavailable == nil || w.recreates || w.Replicas == 0 {
		return
	}
	// The controller rounds down: 25% of 3 is none.
	n, err := intstr.GetScaledValueFromIntOrPercent(w.unavailable, w.Replicas, false)
	if err == nil && n >= w.Replicas {
		x.say(AllAtOnce, false, w.place("spec.strategy.rollingUpdate.maxUnavailable"), "maxUnavailable is %s of %d pods", strings.TrimSpace(w.unavailable.String()), w.Replicas)
	}
}

// job checks what happens to a Job's pods that are evicted.
func (x *examination) job() {
	w := x.workload
	if w.job == nil {
		return
	}
	at := strings.TrimSuffix(w.pod, ".template.spec")
	if p := w.job.PodReplacementPolicy; w.job.PodFailurePolicy == nil && (p == nil || *p == batch.TerminatingOrFailed) {
		x.say(TwoAtOnce, false, w.place(at+".podReplacementPolicy"), "podReplacementPolicy is TerminatingOrFailed, the default")
	}
	if limit := w.job.BackoffLimit; limit != nil && *limit == 0 && !ignoresDisruption(w.job.PodFailurePolicy) {
		x.say(DrainFails, false, w.place(at+".backoffLimit"), "backoffLimit is 0, and no podFailurePolicy ignores DisruptionTarget")
	}
}

// ignoresDisruption reports whether a policy does not count a pod that its node or the scheduler
// has ended.
func ignoresDisruption(p *batch.PodFailurePolicy) bool {
	if p == nil {
		return false
	}
	return slices.ContainsFunc(p.Rules, func(r batch.PodFailurePolicyRule) bool {
		return r.Action == batch.PodFailurePolicyActionIgnore && slices.ContainsFunc(r.OnPodConditions, func(c batch.PodFailurePolicyOnPodConditionsPattern) bool {
			return c.Type == core.DisruptionTarget
		})
	})
}
