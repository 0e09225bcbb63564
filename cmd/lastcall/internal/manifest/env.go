package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// variable is a variable of the container's environment.
type variable struct{ name, value string }

// environment builds the variables of a container in the order in which Kubernetes does: those of
// envFrom, then those of env, which replace them, and last those of the command line.
func (p *Plan) environment(c *core.Container) {
	p.env = nil
	given := make(map[string]string)
	for _, one := range p.given.Env {
		name, value, _ := strings.Cut(one, "=")
		given[name] = value
	}
	for i := range c.EnvFrom {
		p.envFrom(&c.EnvFrom[i])
	}
	for i := range c.Env {
		e := &c.Env[i]
		if _, ok := given[e.Name]; ok {
			continue
		}
		if e.ValueFrom == nil {
			p.setenv(e.Name, p.here(p.expand(e.Value)))
		} else if value, ok := p.valueFrom(e); ok {
			p.setenv(e.Name, p.here(value))
		}
	}
	for _, one := range p.given.Env {
		name, value, _ := strings.Cut(one, "=")
		named := func(e core.EnvVar) bool { return e.Name == name }
		if !p.workload.isSidecar(c) || slices.ContainsFunc(c.Env, named) {
			p.setenv(name, value)
		}
	}
}

func (p *Plan) setenv(name, value string) {
	if i := slices.IndexFunc(p.env, func(v variable) bool { return v.name == name }); i >= 0 {
		p.env[i].value = value
		return
	}
	p.env = append(p.env, variable{name, value})
}

// variables returns the environment, as NAME=VALUE.
func (p *Plan) variables() (all []string) {
	for _, v := range p.env {
		all = append(all, v.name+"="+v.value)
	}
	return all
}

// envFrom adds all keys of a ConfigMap or a Secret.
func (p *Plan) envFrom(from *core.EnvFromSource) {
	var data map[string]string
	var what, name string
	optional, ok := false, false
	switch {
	case from.ConfigMapRef != nil:
		what, name, optional = "ConfigMap", from.ConfigMapRef.Name, isTrue(from.ConfigMapRef.Optional)
		data, ok = p.configMap(name)
	case from.SecretRef != nil:
		what, name, optional = "Secret", from.SecretRef.Name, isTrue(from.SecretRef.Optional)
		data, ok = p.secret(name)
	}
	if !ok && !optional {
		p.lack("all variables of %s %s (envFrom): give its manifest with another -f", what, name)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		p.setenv(from.Prefix+key, p.here(data[key]))
	}
}

// valueFrom returns a value that is defined elsewhere.
func (p *Plan) valueFrom(e *core.EnvVar) (string, bool) {
	from := e.ValueFrom
	switch {
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		data, _ := p.configMap(ref.Name)
		return p.keyOf(e.Name, "ConfigMap "+ref.Name, ref.Key, data, isTrue(ref.Optional))
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		data, _ := p.secret(ref.Name)
		return p.keyOf(e.Name, "Secret "+ref.Name, ref.Key, data, isTrue(ref.Optional))
	case from.FieldRef != nil:
		if value, ok := p.field(from.FieldRef.FieldPath); ok {
			return value, true
		}
		return p.keyOf(e.Name, "the pod", from.FieldRef.FieldPath, nil, false)
	case from.ResourceFieldRef != nil:
		return p.resource(from.ResourceFieldRef), true
	}
	return p.keyOf(e.Name, "a file of a volume", "", nil, false)
}

// keyOf returns the value of a key. If the object is not in the manifest, it returns a variable of
// this process's environment.
func (p *Plan) keyOf(variable, object, key string, data map[string]string, optional bool) (string, bool) {
	if value, ok := data[key]; ok {
		return value, true
	}
	if value, ok := p.given.Environ(variable); ok {
		return value, true
	}
	if !optional {
		p.lack("variable %s, which is %s of %s: --env %s=VALUE", variable, key, object, variable)
	}
	return "", false
}

// configMap returns the data of a ConfigMap of the manifest.
func (p *Plan) configMap(name string) (map[string]string, bool) {
	for _, c := range p.set.configMaps {
		if c.object.Name == name {
			all := make(map[string]string)
			maps.Copy(all, c.object.Data)
			for key, value := range c.object.BinaryData {
				all[key] = string(value)
			}
			return all, true
		}
	}
	return nil, false
}

// secret returns the data of a Secret of the manifest.
func (p *Plan) secret(name string) (map[string]string, bool) {
	for _, s := range p.set.secrets {
		if s.object.Name == name {
			all := make(map[string]string)
			for key, value := range s.object.Data {
				all[key] = string(value)
			}
			maps.Copy(all, s.object.StringData)
			return all, true
		}
	}
	return nil, false
}

// field returns a field of the pod, as far as it has one here.
func (p *Plan) field(path string) (string, bool) {
	fields := map[string]string{
		"metadata.name": p.workload.Name + "-rehearsal", "metadata.namespace": cmp.Or(p.workload.Namespace, "default"),
		"metadata.uid": "00000000-0000-4000-8000-000000000000", "spec.nodeName": "localhost",
		"spec.serviceAccountName": cmp.Or(p.workload.Pod.ServiceAccountName, "default"), "status.podIP": "127.0.0.1", "status.podIPs": "127.0.0.1",
		"status.hostIP": "127.0.0.1", "status.hostIPs": "127.0.0.1",
	}
	if value, ok := fields[path]; ok {
		return value, true
	}
	if key, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return p.workload.Labels[strings.TrimSuffix(key, "']")], true
	}
	if key, ok := strings.CutPrefix(path, "metadata.annotations['"); ok {
		return p.workload.annotations[strings.TrimSuffix(key, "']")], true
	}
	switch path {
	case "metadata.labels":
		return lines(p.workload.Labels), true
	case "metadata.annotations":
		return lines(p.workload.annotations), true
	}
	return "", false
}

// lines returns a map as a volume of the downward API shows it.
func lines(all map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%q\n", key, all[key])
	}
	return b.String()
}

// resource returns a request or a limit of the container, in units of the divisor, rounded up.
func (p *Plan) resource(ref *core.ResourceFieldSelector) string {
	list, name, _ := strings.Cut(ref.Resource, ".")
	quantities := p.container.Resources.Limits
	if list == "requests" {
		quantities = p.container.Resources.Requests
	}
	value, limited := quantities[core.ResourceName(name)]
	if !limited && name == "cpu" {
		// Without a limit it is that of the node.
		value = *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI)
	}
	divisor := ref.Divisor.DeepCopy()
	if divisor.IsZero() {
		return strconv.FormatInt(value.Value(), 10)
	}
	by := max(divisor.MilliValue(), 1)
	return strconv.FormatInt((value.MilliValue()+by-1)/by, 10)
}

// expand replaces $(NAME) by the value of a known variable. $$ becomes a dollar sign, and an
// unknown name stays as it is. Compose has no such syntax.
func (p *Plan) expand(text string) string {
	if p.workload.compose {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		if text[i+1] == '$' {
			b.WriteByte('$')
			i++
			continue
		}
		end := strings.IndexByte(text[i:], ')')
		if text[i+1] != '(' || end < 0 {
			b.WriteByte('$')
			continue
		}
		name := text[i+2 : i+end]
		known := slices.IndexFunc(p.env, func(v variable) bool { return v.name == name })
		if known < 0 {
			b.WriteString(text[i : i+end+1])
		} else {
			b.WriteString(p.env[known].value)
		}
		i += end
	}
	return b.String()
}

func isTrue(b *bool) bool { return b != nil && *b }
