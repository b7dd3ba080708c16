package sandbox

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"doorcode/pkg/delivery"
)

// smsReply is the reply of the SMS API, one entry for each part. All values
// are strings (providers.md 4.2).
type smsReply struct {
	Count    string    `json:"message-count"`
	Messages []smsPart `json:"messages"`
}

// smsPart is what the reply says about one part.
type smsPart struct {
	To        string `json:"to,omitempty" xml:"to,omitempty"`
	ID        string `json:"message-id,omitempty" xml:"messageId,omitempty"`
	Status    string `json:"status" xml:"status"`
	Balance   string `json:"remaining-balance,omitempty" xml:"remainingBalance,omitempty"`
	Price     string `json:"message-price,omitempty" xml:"messagePrice,omitempty"`
	Network   string `json:"network,omitempty" xml:"network,omitempty"`
	ClientRef string `json:"client-ref,omitempty" xml:"clientRef,omitempty"`
	ErrorText string `json:"error-text,omitempty" xml:"errorText,omitempty"`
}

// newReply counts the parts.
func newReply(parts ...smsPart) smsReply {
	return smsReply{Count: strconv.Itoa(len(parts)), Messages: parts}
}

// smsAnswer is an answer with the few headers of this provider.
func smsAnswer(status int, media string, body []byte) answer {
	return answer{status: status, media: media, body: body, bare: true, header: []headerLine{{"Server", "nginx"}}}
}

// smsJSON is an answer with a JSON document, plain characters unescaped.
func smsJSON(status int, document any) answer {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(document)
	if err != nil {
		return smsAnswer(http.StatusInternalServerError, "text/plain", nil)
	}
	return smsAnswer(status, "application/json", bytes.TrimSuffix(body.Bytes(), []byte("\n")))
}

// answer is the reply as JSON.
func (r smsReply) answer() answer { return smsJSON(http.StatusOK, r) }

// xml is the reply as the other path gives it.
func (r smsReply) xml() answer {
	type list struct {
		Count    string    `xml:"count,attr"`
		Messages []smsPart `xml:"message"`
	}
	body, err := xml.Marshal(struct {
		XMLName  xml.Name `xml:"mt-submission-response"`
		Messages list     `xml:"messages"`
	}{Messages: list(r)})
	if err != nil {
		return smsAnswer(http.StatusInternalServerError, "text/plain", nil)
	}
	return smsAnswer(http.StatusOK, "text/xml", append([]byte(xml.Header), body...))
}

// numbers is the reply with the numbers that the provider is not known to
// write, and that break its own client (providers.md 1, trap 8).
func (r smsReply) numbers() answer {
	type part struct {
		smsPart
		Status json.Number `json:"status"`
	}
	parts := []part{}
	for _, p := range r.Messages {
		parts = append(parts, part{smsPart: p, Status: json.Number(p.Status)})
	}
	return smsJSON(http.StatusOK, map[string]any{"message-count": len(parts), "messages": parts})
}

// partial is the reply in which the last of several parts is refused.
func (r smsReply) partial() answer {
	last := len(r.Messages) - 1
	if last == 0 {
		return r.answer()
	}
	refused, _ := refuseSMS(smsInternal)
	return newReply(append(append([]smsPart{}, r.Messages[:last]...), refused)...).answer()
}

// smsStatus is what the gateway in front of the SMS API answers with a status
// of HTTP; the API itself always answers 200.
func smsStatus(status int) answer {
	if status < http.StatusBadRequest {
		return smsAnswer(status, "", nil)
	}
	return smsJSON(status, map[string]string{
		"error-code": strconv.Itoa(status), "error-code-label": http.StatusText(status),
	})
}

// vonageDialect words the faults that every provider can have.
func vonageDialect() dialect {
	return dialect{
		channel: delivery.SMS,
		status:  smsStatus,
		limited: func(_ time.Time, reset time.Duration) answer {
			part, _ := refuseSMS(smsThrottled)
			if reset > 0 {
				part.ErrorText = fmt.Sprintf("Throughput Rate Exceeded - please wait [ %d ] and retry", reset.Milliseconds())
			}
			return newReply(part).answer()
		},
		credits: func() answer {
			part, _ := refuseSMS(smsCredit)
			return newReply(part).answer()
		},
	}
}
