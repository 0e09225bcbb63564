package rehearse

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// frameOf returns an HTTP/2 frame.
func frameOf(kind byte, stream uint32, payload ...byte) []byte {
	return append([]byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, 0, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}, payload...)
}

// in is a connection that is only read from.
type in struct {
	net.Conn
	io.Reader
}

func (i in) Read(b []byte) (int, error) { return i.Reader.Read(b) }

// Frames are recognized however the bytes are split, and the reader gets exactly the bytes that
// arrive.
func TestFrames_AreFollowedInWhateverPiecesTheyCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text []byte
		reset, away, last := map[uint32]uint32{}, false, uint32(0)
		for range rapid.IntRange(0, 20).Draw(t, "frames") {
			stream := rapid.Uint32Range(0, 1<<31-1).Draw(t, "stream")
			switch kind := rapid.SampledFrom([]byte{0, 0, 1, 3, 4, 6, 7, 8}).Draw(t, "kind"); kind {
			case frameReset:
				code := rapid.Byte().Draw(t, "code")
				text, reset[stream] = append(text, frameOf(kind, stream, 0, 0, 0, code)...), uint32(code)
			case frameGoAway:
				at := rapid.Byte().Draw(t, "last")
				more := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "debug")
				text, away, last = append(text, frameOf(kind, 0, append([]byte{0, 0, 0, at, 0, 0, 0, 0}, more...)...)...), true, uint32(at)
			default:
				text = append(text, frameOf(kind, stream, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")...)...)
			}
		}
		f := newFrames(in{Reader: bytes.NewReader(text)})
		var read []byte
		for {
			piece := make([]byte, rapid.IntRange(1, 50).Draw(t, "piece"))
			n, err := f.Read(piece)
			read = append(read, piece[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(read, text) || f.isAway() != away || f.last != last || len(f.reset) != len(reset) || !errors.Is(f.err, io.EOF) {
			t.Fatalf("read %d bytes of %d; away %v, want %v; last %d, want %d; reset %v, want %v; %v", len(read), len(text), f.isAway(), away, f.last, last, f.reset, reset, f.err)
		}
		for stream, code := range reset {
			if f.reset[stream] != code {
				t.Fatalf("stream %d is reset by %d, want %d", stream, f.reset[stream], code)
			}
		}
		select {
		case <-f.ended:
		default:
			t.Fatal("the end was not seen")
		}
	})
}

// Every client sends a request that the server has declared unprocessed to another server, so it is
// no failure.
func TestFrames_TellWhatBecameOfARequest(t *testing.T) {
	failed := errors.New("http2: something")
	for name, c := range map[string]struct {
		came  []byte
		begun bool
		err   error
		want  error // nil if the error is to be classified
		class failure
	}{
		"after the last stream":  {frameOf(frameGoAway, 0, 0, 0, 0, 3, 0, 0, 0, 0), false, failed, errLater, ""},
		"before the last stream": {frameOf(frameGoAway, 0, 0, 0, 0, 5, 0, 0, 0, 0), false, failed, nil, dropped},
		"refused":                {frameOf(frameReset, 5, 0, 0, 0, refusedByH2), false, failed, errLater, ""},
		"reset":                  {frameOf(frameReset, 5, 0, 0, 0, 2), false, failed, nil, dropped},
		"reset within":           {frameOf(frameReset, 5, 0, 0, 0, 2), true, failed, nil, cut},
		// It is the end that drops this one.
		"another one reset": {frameOf(frameReset, 3, 0, 0, 0, 2), false, failed, nil, dropped},
		"the end":           {nil, false, failed, nil, dropped},
		"the end within":    {nil, true, failed, nil, cut},
		"late":              {nil, false, os.ErrDeadlineExceeded, nil, timedOut},
	} {
		f := newFrames(in{Reader: bytes.NewReader(c.came)})
		_, _ = io.Copy(io.Discard, f)
		got := f.why(5, c.begun, c.err)
		if c.want != nil && !errors.Is(got, c.want) || c.want == nil && classify(got) != c.class {
			t.Errorf("%s: %v, which is %q", name, got, classify(got))
		}
	}
}

// If this process has no processor for a second between the connection and the request, net/http
// closes the connection, which is not the server's fault.
func TestHTTP2_AConnectionThatWasClosedHereBlamesNobody(t *testing.T) {
	address := listeningAs(t, true, func(http.ResponseWriter, *http.Request) {})
	tr := newTraffic(nil, 1)
	defer tr.stop()
	to := targets(t, Target{URL: "h2c://" + address})[0]
	h, err := tr.dialHTTP2(to, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	<-h.frames.ended
	_, err = h.ask(tr.ctx, tr, to, requestTimeout)
	if !h.idledOut(err) {
		t.Errorf("%v, closed here: %v", err, h.frames.closedHere())
	}
	if tr.add(to, newConnection, time.Now(), errLate, 0); tr.counts() != (tally{notSent: 1}) {
		t.Errorf("%+v", tr.counts())
	}
}

func TestWithin_WaitsLongerByTheLatenessOfThisProcess(t *testing.T) {
	for _, late := range []time.Duration{0, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			tr := &traffic{ctx: t.Context()}
			begun := time.Now()
			ctx, cancel := tr.within(t.Context(), 10*time.Second)
			defer cancel()
			if late > 0 {
				tr.late.add(late)
			}
			<-ctx.Done()
			if took := time.Since(begun); took != 10*time.Second+late+lastLook || !errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded) {
				t.Errorf("%v late: %v after %v", late, context.Cause(ctx), took)
			}
		})
	}
}
