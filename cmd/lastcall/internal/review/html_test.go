package review

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

func page(t *testing.T, r *rehearse.Report, failed error) string {
	t.Helper()
	return written(t, func(b *bytes.Buffer) error { return HTML(b, Origin{Version: "v1.0.0"}, r, failed) })
}

// pictures reads the SVG pictures of a page, which are XML: each element with its numbers.
func pictures(t *testing.T, text string) (elements []map[string]string) {
	t.Helper()
	for i, part := range strings.Split(text, "<svg ") {
		if i == 0 || !strings.HasPrefix(part, `viewBox="0 0 960`) {
			continue
		}
		svg, _, _ := strings.Cut(part, "</svg>")
		for decoder := xml.NewDecoder(strings.NewReader("<svg " + svg + "</svg>")); ; {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, svg)
			}
			if start, ok := token.(xml.StartElement); ok {
				one := map[string]string{"element": start.Name.Local}
				for _, a := range start.Attr {
					one[a.Name.Local] = a.Value
				}
				elements = append(elements, one)
			}
		}
	}
	return elements
}

func TestHTML_HasEverythingInItself(t *testing.T) {
	for name, text := range map[string]string{
		"one": page(t, oneScenario(), nil), "several": page(t, severalScenarios(), nil), "hostile": page(t, hostileReport(), errors.New(hostile)),
		"failed": page(t, nil, errors.New("no such file")), "none": page(t, &rehearse.Report{}, nil),
	} {
		for _, word := range []string{"src=", "href=", "url(", "@import", "<script", "http:", "https:"} {
			// The address that was rehearsed is text.
			if strings.Contains(strings.ReplaceAll(text, "http://127.0.0.1", ""), word) {
				t.Errorf("%s: the page has %s", name, word)
			}
		}
		if !strings.HasSuffix(text, "</html>\n") {
			t.Errorf("%s: it ends in %q", name, text[max(0, len(text)-80):])
		}
	}
}

func TestHTML_APictureStaysInItsFrame(t *testing.T) {
	long := oneScenario()
	for i := range 40 {
		long.Results[0].Events = append(long.Results[0].Events,
			rehearse.Event{At: at(600) + time.Duration(i), What: strings.Repeat("a long name ", 9), Code: []rehearse.Code{"", rehearse.CutOff}[i%2]})
	}
	for name, r := range map[string]*rehearse.Report{"one": oneScenario(), "several": severalScenarios(), "long": long, "instant": {Results: []rehearse.Result{{Events: []rehearse.Event{{What: "started"}}}}}} {
		height, bars := 0.0, 0
		for _, e := range pictures(t, page(t, r, nil)) {
			number := func(attribute string) float64 {
				if e[attribute] == "" {
					return 0
				}
				n, err := strconv.ParseFloat(e[attribute], 64)
				if err != nil {
					t.Errorf("%s: %v in %v", name, err, e)
				}
				return n
			}
			if e["element"] == "svg" {
				height, _ = strconv.ParseFloat(strings.Fields(e["viewBox"])[3], 64)
				continue
			}
			if e["element"] == "rect" {
				bars++
			}
			for _, x := range []string{"x", "x1", "x2"} {
				if n := number(x); n < 0 || n+number("width") > pictureWidth {
					t.Errorf("%s: %v is out of the frame", name, e)
				}
			}
			for _, y := range []string{"y", "y1", "y2"} {
				if n := number(y); n < 0 || n+number("height") > height {
					t.Errorf("%s: %v is out of the frame, whose height is %g", name, e, height)
				}
			}
		}
		if bars == 0 {
			t.Errorf("%s: nothing is drawn", name)
		}
	}
}

func TestLanes_ShowThatTheProgramEndedBeforeItsEndpoint(t *testing.T) {
	got := map[string]bar{}
	for _, one := range lanes(exitsAtOnce()) {
		got[one.name] = one.bars[len(one.bars)-1]
	}
	if program, endpoint := got["program"], got["endpoint"]; program.to != at(2.16) || program.state != stopping || endpoint.from != at(0.05) || endpoint.to != at(3.05) {
		t.Errorf("%+v", got)
	}
	if wrong := got["LC104"]; wrong.from != at(2.17) || wrong.to != at(3.05) || wrong.state != failing {
		t.Errorf("%+v", wrong)
	}
	if _, ok := got["preStop"]; ok {
		t.Errorf("there is no hook: %+v", got)
	}
}

func TestLanes_AHookTakesItsTime(t *testing.T) {
	r := exitsAtOnce()
	r.Events = append(r.Events[:3:3], append([]rehearse.Event{
		{At: at(2.05), What: "preStop", Detail: "sleep 1"}, {At: at(3.06), What: "preStop ended"}}, r.Events[3:]...)...)
	for _, one := range lanes(r) {
		if one.name == "preStop" {
			if one.bars[0].from != at(2.05) || one.bars[0].to != at(3.06) || one.bars[0].state != hooking {
				t.Errorf("%+v", one)
			}
			return
		}
	}
	t.Errorf("no hook among %+v", lanes(r))
}
