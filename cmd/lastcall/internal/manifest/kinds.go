package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// object has the fields of every Kubernetes object.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name         string `json:"name"`
		GenerateName string `json:"generateName"`
	} `json:"metadata"`
}

// add adds the object of a document to the set.
func (s *Set) add(d *document) error {
	var head object
	if json.Unmarshal(d.json, &head) != nil {
		return d.decode(&head)
	}
	if head.Kind == "" || head.APIVersion == "" {
		return d.errorAt("", "this is no object of Kubernetes: it has no apiVersion and kind")
	}
	name := cmp.Or(head.Metadata.Name, head.Metadata.GenerateName)
	switch head.APIVersion + " " + head.Kind {
	case "v1 List":
		return s.addList(d)
	case "v1 Service":
		return keep(d, &s.services)
	case "v1 ConfigMap":
		return keep(d, &s.configMaps)
	case "v1 Secret":
		return keep(d, &s.secrets)
	case "policy/v1 PodDisruptionBudget":
		return keep(d, &s.budgets)
	}
	version, known := versions[head.Kind]
	if !known {
		s.Others = append(s.Others, head.Kind+" "+name)
		return nil
	}
	if head.APIVersion != version {
		return d.errorAt("apiVersion", "%s %s has the apiVersion %s, which Kubernetes does not serve: it is %s", head.Kind, name, head.APIVersion, version)
	}
	w := &Workload{document: d, Kind: head.Kind, Name: name, Replicas: 1}
	if err := w.decodeKind(); err != nil {
		return err
	}
	s.Workloads = append(s.Workloads, w)
	return w.check()
}

// versions are the API versions of the kinds that create pods.
var versions = map[string]string{
	"Pod": "v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "ReplicaSet": "apps/v1",
	"Job": "batch/v1", "CronJob": "batch/v1",
}

// keep decodes an object and adds it to a list.
func keep[T any](d *document, list *[]*located[T]) error {
	one := &located[T]{document: d}
	*list = append(*list, one)
	return d.decode(&one.object)
}

// addList adds the items of a List, in which kubectl get wraps several objects.
func (s *Set) addList(d *document) error {
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(d.json, &list); err != nil {
		return d.errorAt("items", "%v", err)
	}
	for i, item := range list.Items {
		_, node := child(d.root, "items")
		_, node = child(node, fmt.Sprintf("[%d]", i))
		if node == nil {
			return d.errorAt("items", "item %d is nothing", i)
		}
		if err := s.add(&document{source: d.source, line: d.line, json: item, root: node}); err != nil {
			return err
		}
	}
	return nil
}

// decodeKind fills in a workload from its document.
func (w *Workload) decodeKind() error {
	replicas := func(n *int32) {
		if n != nil {
			w.Replicas = int(*n)
		}
	}
	switch w.Kind {
	case "Pod":
		var o core.Pod
		err := w.decode(&o)
		w.take("spec", o.ObjectMeta, o.Spec)
		return err
	case "Deployment":
		var o apps.Deployment
		err := w.decode(&o)
		replicas(o.Spec.Replicas)
		w.recreates = o.Spec.Strategy.Type == apps.RecreateDeploymentStrategyType
		if rolling := o.Spec.Strategy.RollingUpdate; rolling != nil {
			w.unavailable = rolling.MaxUnavailable
		}
		w.template("spec.template", o.ObjectMeta, o.Spec.Template)
		return err
	case "StatefulSet":
		var o apps.StatefulSet
		err := w.decode(&o)
		replicas(o.Spec.Replicas)
		for i := range o.Spec.VolumeClaimTemplates {
			w.claims = append(w.claims, o.Spec.VolumeClaimTemplates[i].Name)
		}
		w.template("spec.template", o.ObjectMeta, o.Spec.Template)
		return err
	case "DaemonSet":
		var o apps.DaemonSet
		err := w.decode(&o)
		w.Replicas = 0
		w.template("spec.template", o.ObjectMeta, o.Spec.Template)
		return err
	case "ReplicaSet":
		var o apps.ReplicaSet
		err := w.decode(&o)
		replicas(o.Spec.Replicas)
		w.template("spec.template", o.ObjectMeta, o.Spec.Template)
		return err
	case "Job":
		var o batch.Job
		err := w.decode(&o)
		w.job = &o.Spec
		w.template("spec.template", o.ObjectMeta, o.Spec.Template)
		return err
	default: // CronJob
		var o batch.CronJob
		err := w.decode(&o)
		w.job = &o.Spec.JobTemplate.Spec
		w.template("spec.jobTemplate.spec.template", o.ObjectMeta, w.job.Template)
		return err
	}
}

// template stores a pod's template, with the namespace of the object that creates the pods.
func (w *Workload) template(path string, owner meta.ObjectMeta, t core.PodTemplateSpec) {
	t.Namespace = owner.Namespace
	w.take(path+".spec", t.ObjectMeta, t.Spec)
}

func (w *Workload) take(path string, m meta.ObjectMeta, spec core.PodSpec) {
	w.Namespace, w.Labels, w.Pod, w.pod = m.Namespace, m.Labels, spec, path
	w.annotations, w.defaultContainer = m.Annotations, m.Annotations["kubectl.kubernetes.io/default-container"]
}
