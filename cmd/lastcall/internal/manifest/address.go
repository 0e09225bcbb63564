package manifest

import (
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// address is the URL that clients request: the path / of the port that a Service of the manifest
// leads to. Without such a Service it is that of the container's first port that is not for probes
// alone. Empty means that the manifest has no such port.
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
			number, err := portOf(p.container, target)
			if err != nil {
				continue
			}
			name := port.Name
			if port.AppProtocol != nil {
				name = *port.AppProtocol
			}
			if url := p.target(name, number, port.Protocol); url != "" {
				return url
			}
		}
	}
	probed := p.probed()
	for _, onlyOthers := range []bool{true, false} {
		for i := range p.container.Ports {
			port := &p.container.Ports[i]
			number := int(port.ContainerPort)
			if onlyOthers && len(p.container.Ports) > 1 && slices.Contains(probed, number) {
				continue
			}
			if url := p.target(port.Name, number, port.Protocol); url != "" {
				return url
			}
		}
	}
	return ""
}

// target returns the URL of a port by its protocol, which is the first word of the port's name if
// nothing else names it. It returns "" for a protocol that the rehearsal's clients do not speak.
func (p *Plan) target(name string, port int, transport core.Protocol) string {
	if transport != "" && transport != core.ProtocolTCP {
		return ""
	}
	name = strings.TrimPrefix(strings.ToLower(name), "kubernetes.io/")
	name, _, _ = strings.Cut(name, "-")
	scheme := "http"
	switch {
	case name == "https" || name == "tls":
		scheme = "https"
	case name == "h2c" || name == "http2":
		scheme = "h2c"
	case name == "grpc" && p.hasHealth(port):
		return fmt.Sprintf("grpc://127.0.0.1:%d", port)
	case slices.Contains(otherProtocols, name):
		return ""
	}
	return fmt.Sprintf("%s://127.0.0.1:%d/", scheme, port)
}

// otherProtocols are names of ports with a protocol for which there are no clients here, and of
// ports that are not for clients.
var otherProtocols = []string{
	"grpc", "grpcs", "tcp", "metrics", "prometheus", "redis", "postgres", "postgresql", "mysql", "mongo", "amqp", "mqtt", "debug", "pprof", "admin",
}

// hasHealth reports whether a probe checks a port by the gRPC health protocol.
func (p *Plan) hasHealth(port int) bool {
	return slices.ContainsFunc(probesOf(p.container), func(one namedProbe) bool { return one.probe.GRPC != nil && int(one.probe.GRPC.Port) == port })
}

// probed returns the ports of the container's probes.
func (p *Plan) probed() (all []int) {
	for _, one := range probesOf(p.container) {
		var port intstr.IntOrString
		switch probe := one.probe; {
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

// selectedBy reports whether a selector of equal labels selects the workload's pods.
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
