package rehearse

import (
	"bytes"
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// foundTarget returns what clients ask for if the configuration does not say it: where the
// readiness probe asks, or else the lowest loopback port that speaks HTTP, HTTP/2 or gRPC. It
// returns nil while that is not known. A program that has spoken none of these for a while gets TCP
// connections. listens reports whether there is any port.
func (r *rehearsal) foundTarget(ctx context.Context) (to *target, listens bool) {
	if to := probed(r.config.Program.Readiness); to != nil {
		return to, true
	}
	listening := listening(r.program.pids())
	waited := time.Since(r.started)
	for _, address := range listening {
		known, ok := r.spoken[address]
		if !ok {
			if known = speaks(ctx, address.String()); known == "" {
				if waited < silence {
					continue // it may speak soon
				}
				known = "tcp"
			}
			if r.spoken == nil {
				r.spoken = map[netip.AddrPort]string{}
			}
			r.spoken[address] = known
		}
		if known != "tcp" {
			return loopbackTarget(known, address.String()), true
		}
	}
	if len(listening) > 0 && waited >= noPort && r.spoken[listening[0]] == "tcp" {
		return loopbackTarget("tcp", listening[0].String()), true
	}
	return nil, len(listening) > 0
}

// silence is the time after which a listening program that has said nothing is taken to wait for a
// protocol that these clients do not know.
const silence = 4 * time.Second

// probed returns the target of a readiness probe, nil if the probe uses no port. It has a path of
// its own: the answer at the probe's path may change when the program stops.
func probed(p *Probe) *target {
	at := func(scheme string, port int, path string) *target {
		return loopbackTarget(scheme, "127.0.0.1:"+strconv.Itoa(port)+path)
	}
	switch {
	case p == nil:
		return nil
	case p.HTTPGet != nil && p.HTTPGet.Scheme == "HTTPS", p.HTTPGet != nil && p.HTTPGet.Scheme == "https":
		return at("https", p.HTTPGet.Port, "/")
	case p.HTTPGet != nil:
		return at("http", p.HTTPGet.Port, "/")
	case p.GRPC != nil:
		return at("grpc", p.GRPC.Port, "/"+p.GRPC.Service)
	case p.TCP != 0:
		return at("tcp", p.TCP, "")
	}
	return nil
}

// loopbackTarget returns the target of a loopback address, nil if a probe's path does not fit into
// one.
func loopbackTarget(scheme, address string) *target {
	to, err := newTarget(Target{URL: scheme + "://" + address}, false)
	if err != nil {
		return nil
	}
	return to
}

// speakPatience is how long a server may take for the answer that identifies its protocol.
const speakPatience = time.Second

// speaks detects the protocol of a server. It returns the scheme of a target, empty if the server
// has said nothing.
func speaks(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 4*speakPatience)
	defer cancel()
	t := &traffic{ctx: ctx}
	to := loopbackTarget("http", address)
	w, err := t.dial(to)
	if err != nil {
		return ""
	}
	defer w.close()
	w.begin(speakPatience)
	if _, err = w.Write(to.once); err != nil {
		return ""
	}
	head, _ := w.in.Peek(len("HTTP/1.1 400"))
	isHTTP, isBad := bytes.HasPrefix(head, []byte("HTTP/1.")), bytes.HasSuffix(head, []byte(" 400"))
	if isHTTP && !isBad {
		return "http"
	}
	// An HTTPS server answers 400 or an alert, an HTTP/2 server a frame, and others anything.
	if speaksTLS(t, address) {
		return "https"
	}
	switch {
	case isHTTP:
		return "http"
	case speaksHTTP2(t, address):
		if speaksGRPC(t, address) {
			return "grpc"
		}
		return "h2c"
	case len(head) == 0 && w.err == nil:
		return ""
	}
	return "tcp"
}

// speaksTLS reports whether a server completes a TLS handshake.
func speaksTLS(t *traffic, address string) bool {
	ctx, cancel := t.within(t.ctx, speakPatience)
	defer cancel()
	w, err := (&traffic{ctx: ctx}).dial(loopbackTarget("https", address))
	if err != nil {
		return false
	}
	w.close()
	return true
}

// speaksHTTP2 reports whether a server answers HTTP/2 requests without TLS.
func speaksHTTP2(t *traffic, address string) bool {
	to := loopbackTarget("h2c", address)
	h, err := t.dialHTTP2(to, 0)
	if err != nil {
		return false
	}
	defer h.close()
	_, err = h.ask(t.ctx, t, to, speakPatience)
	return err == nil
}

// speaksGRPC reports whether an HTTP/2 server answers as a gRPC server does, whatever the answer
// is.
func speaksGRPC(t *traffic, address string) bool {
	to := loopbackTarget("grpc", address)
	h, err := t.dialHTTP2(to, 0)
	if err != nil {
		return false
	}
	defer h.close()
	ctx, cancel := t.within(t.ctx, speakPatience)
	defer cancel()
	req, err := to.newRequest(ctx)
	if err != nil {
		return false
	}
	resp, _, err := h.do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/grpc")
}
