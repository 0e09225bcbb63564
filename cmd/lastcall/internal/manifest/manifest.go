// Package manifest reads the manifests of a program and turns them into the configuration of
// package rehearse: the grace, the hooks, the probes, the stop signal and the environment. It also
// reports what is wrong in a manifest, without running anything.
//
// A manifest is decoded strictly, as the API server does with strict field validation: a field that
// Kubernetes does not know is an error with its line.
package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Source is one file of manifests, or standard input.
type Source struct {
	// Name is the file's name. It is empty for standard input.
	Name string
	Text []byte
}

// Set is the content of one or several files.
type Set struct {
	// Workloads are the objects that create pods, in the order of the files.
	Workloads []*Workload
	// Others are the objects that create none and were not examined, as "Kind name".
	Others []string

	services   []*located[core.Service]
	budgets    []*located[policy.PodDisruptionBudget]
	configMaps []*located[core.ConfigMap]
	secrets    []*located[core.Secret]

	unpacked map[*core.Container]*Image
}

// located is an object with the document that contains it.
type located[T any] struct {
	*document
	object T
}

// Workload is an object that creates pods.
type Workload struct {
	*document
	// Kind is Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or Pod, or the service of a
	// Compose file.
	Kind, Name, Namespace string
	// Replicas is how many pods there are at a time. It is 0 for a DaemonSet, which has one on each
	// node.
	Replicas int
	// Labels are those of its pods.
	Labels map[string]string
	// Pod is the template of its pods. It is at the path pod of the document.
	Pod core.PodSpec
	pod string
	// defaultContainer is the container that an annotation names for kubectl logs and kubectl exec.
	defaultContainer string
	annotations      map[string]string
	// claims are the names of a StatefulSet's volumeClaimTemplates.
	claims []string
	// job is set for a Job and a CronJob.
	job *batch.JobSpec
	// recreates is whether a Deployment ends all old pods before it starts a new one.
	recreates bool
	// unavailable is a Deployment's maxUnavailable, nil if it is not set.
	unavailable *intstr.IntOrString
	// compose is whether it is a service of a Compose file.
	compose bool
	// init is whether Docker's own init is PID 1 and passes signals on.
	init bool
	// remarks are notes for every plan.
	remarks []string
}

// String returns the kind and the name of the workload.
func (w *Workload) String() string { return w.Kind + " " + w.Name }

// Read reads the documents of all sources: Kubernetes objects, and Compose files. It skips
// everything that is no workload, Service, PodDisruptionBudget, ConfigMap or Secret.
func Read(sources ...Source) (*Set, error) {
	set := new(Set)
	var compose []*document
	for _, source := range sources {
		documents, err := split(source)
		if err != nil {
			return nil, err
		}
		for _, d := range documents {
			if d.isCompose() {
				compose = append(compose, d)
			} else if err := set.add(d); err != nil {
				return nil, err
			}
		}
	}
	if err := set.addCompose(compose); err != nil {
		return nil, err
	}
	return set, nil
}

// Workload returns the workload with a name, which may be NAME or KIND/NAME. Without a name it
// returns the only workload.
func (s *Set) Workload(name string) (*Workload, error) {
	if len(s.Workloads) == 0 {
		return nil, s.nothing()
	}
	var found []*Workload
	var names []string
	for _, w := range s.Workloads {
		names = append(names, strings.ToLower(w.Kind)+"/"+w.Name)
		kind, rest, both := strings.Cut(name, "/")
		if name == "" || w.Name == name || both && w.Name == rest && strings.EqualFold(w.Kind, kind) {
			found = append(found, w)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return nil, fmt.Errorf("there is no workload %q: there are %s", name, strings.Join(names, ", "))
	case name == "":
		return nil, fmt.Errorf("there are several workloads: choose one with --workload: %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("several workloads have the name %q: say which with --workload KIND/NAME: %s", name, strings.Join(names, ", "))
}

// nothing is the error of a set without a workload.
func (s *Set) nothing() error {
	if len(s.Others) == 0 {
		return errors.New("the manifest is empty: is the command that makes it right?")
	}
	for _, other := range s.Others {
		if strings.HasPrefix(other, "Kustomization ") {
			return errors.New("this is a kustomization and no manifest: build it first, kubectl kustomize DIR | lastcall rehearse -f -")
		}
	}
	shown := s.Others[:min(len(s.Others), 5)]
	return fmt.Errorf("nothing in the manifest makes pods: it has %s", strings.Join(shown, ", "))
}

// Container returns the container with a name, which may be that of a restartable init container.
// Without a name it returns the only container, or the one of the annotation
// kubectl.kubernetes.io/default-container.
func (w *Workload) Container(name string) (*core.Container, error) {
	if len(w.Pod.Containers) == 0 {
		return nil, w.errorAt(w.pod, "%s has no containers", w)
	}
	if name == "" {
		name = w.defaultContainer
	}
	if name == "" && len(w.Pod.Containers) == 1 {
		return &w.Pod.Containers[0], nil
	}
	var names []string
	for i := range w.Pod.Containers {
		c := &w.Pod.Containers[i]
		if names = append(names, c.Name); c.Name == name {
			return c, nil
		}
	}
	if slices.ContainsFunc(w.Pod.InitContainers, func(c core.Container) bool { return c.Name == name }) {
		return nil, fmt.Errorf("container %q of %s is an init container: only %s can be rehearsed", name, w, strings.Join(names, ", "))
	}
	if name == "" {
		return nil, fmt.Errorf("%s has several containers: choose one with --container: %s", w, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("%s has no container %q: it has %s", w, name, strings.Join(names, ", "))
}
