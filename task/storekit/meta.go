package storekit

import "encoding/json"

// FormatMeta returns a task's Meta as a JSON object with sorted keys, and an empty text for none.
// Its texts are UTF-8, which a client sees to.
func FormatMeta(meta map[string]string) string {
	if len(meta) == 0 {
		return ""
	}
	b, err := json.Marshal(meta)
	if err != nil { // texts always encode
		panic(err)
	}
	return string(b)
}

// ParseMeta is the way back.
func ParseMeta(text string) (meta map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	return meta, json.Unmarshal([]byte(text), &meta)
}

// HasMeta reports whether a task's Meta has each of some pairs.
func HasMeta(meta, pairs map[string]string) bool {
	for key, value := range pairs {
		if has, ok := meta[key]; !ok || has != value {
			return false
		}
	}
	return true
}
