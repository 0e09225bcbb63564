package manifest

import (
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// address is what clients ask for: / of the port that a Service of the manifest leads to, or else of
// the container's first one that is not for probes alone. Empty means that the manifest says nothing.
func (p *Plan) address() string {
	for _, s := range p.set.services {
		if !p.workload.selectedBy(s.object.Spec.Selector, s.object.Namespace) {
			continue
		}
		for i := range s.object.Spec.Ports {
			port := &s.object.Spec.Ports[i]
			target := port.TargetPort
			if target.Type == intstr.Int && target.IntVal == 0 {
				target = intstr.FromInt32(port.Port)
			}
			if number, err := portOf(p.container, target); err == nil && speaksHTTP(port.Name, port.AppProtocol, port.Protocol) {
				return fmt.Sprintf("http://127.0.0.1:%d/", number)
			}
		}
	}
	probed := p.probed()
	for _, onlyOthers := range []bool{true, false} {
		for i := range p.container.Ports {
			port := &p.container.Ports[i]
			if speaksHTTP(port.Name, nil, port.Protocol) && !(onlyOthers && slices.Contains(probed, int(port.ContainerPort)) && len(p.container.Ports) > 1) {
				return fmt.Sprintf("http://127.0.0.1:%d/", port.ContainerPort)
			}
		}
	}
	return ""
}

// speaksHTTP reports whether a port may speak HTTP, from its name and its protocol.
func speaksHTTP(name string, app *string, protocol core.Protocol) bool {
	if protocol != "" && protocol != core.ProtocolTCP {
		return false
	}
	if app != nil {
		name = *app
	}
	name, _, _ = strings.Cut(strings.ToLower(name), "-")
	return !slices.Contains([]string{"grpc", "grpcs", "tcp", "https", "tls", "metrics", "prometheus", "redis", "postgres", "mysql", "mongo", "amqp", "mqtt", "debug", "pprof", "admin"}, name)
}

// probed are the ports of the container's probes.
func (p *Plan) probed() (all []int) {
	for _, probe := range []*core.Probe{p.container.StartupProbe, p.container.ReadinessProbe, p.container.LivenessProbe} {
		var port intstr.IntOrString
		switch {
		case probe == nil:
			continue
		case probe.HTTPGet != nil:
			port = probe.HTTPGet.Port
		case probe.TCPSocket != nil:
			port = probe.TCPSocket.Port
		case probe.GRPC != nil:
			port = intstr.FromInt32(probe.GRPC.Port)
		}
		if number, err := portOf(p.container, port); err == nil {
			all = append(all, number)
		}
	}
	return all
}

// selectedBy reports whether a selector of equal labels finds the workload's pods.
func (w *Workload) selectedBy(selector map[string]string, namespace string) bool {
	if len(selector) == 0 || namespace != "" && w.Namespace != "" && namespace != w.Namespace {
		return false
	}
	for key, value := range selector {
		if w.Labels[key] != value {
			return false
		}
	}
	return true
}
