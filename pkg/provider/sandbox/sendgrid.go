package sandbox

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// mailPath is where mail is sent (providers.md 2.1).
const mailPath = "/v3/mail/send"

// maxMail is the largest mail in bytes, also after decompression (providers.md 2.2).
const maxMail = 30 << 20

// errTooLarge says that a body has more than maxMail bytes.
var errTooLarge = errors.New("body is too large")

// serveSendGrid answers whatever is asked of the provider.
func (s *Sandbox) serveSendGrid(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, webhookPath) {
		s.serveWebhooks(w, r)
		return
	}
	if r.URL.Path != mailPath {
		statusAnswer(http.StatusNotFound).write(w)
		return
	}
	if r.Method != http.MethodPost {
		statusAnswer(http.StatusMethodNotAllowed).write(w)
		return
	}
	body, err := readMail(r)
	if r.Context().Err() != nil {
		return // the sender has gone; there is nobody to answer
	}
	s.meet(w, r, call{
		dialect: sendGridDialect(), recipients: recipients(body),
		judge: func() answer { return s.judge(r, body, err) },
	})
}

// judge decides about one request as the provider does and stores what it
// accepts. The read error is that of readMail.
func (s *Sandbox) judge(r *http.Request, body []byte, readErr error) answer {
	if !s.authorized(r) {
		return statusAnswer(http.StatusUnauthorized)
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return statusAnswer(http.StatusUnsupportedMediaType)
	}
	if errors.Is(readErr, errTooLarge) {
		return statusAnswer(http.StatusRequestEntityTooLarge)
	}
	if readErr != nil {
		return statusAnswer(http.StatusBadRequest)
	}
	request, ok := decodeMail(body)
	if !ok {
		return statusAnswer(http.StatusBadRequest)
	}
	now := s.cfg.Clock()
	refused := request.refusals(now)
	if len(refused) > 0 {
		return listAnswer(http.StatusBadRequest, refused)
	}
	if request.sandboxed() {
		return answer{status: http.StatusOK}
	}
	id := s.ids.mailID()
	batch := request.messages(id, now, body)
	s.store.add(batch)
	s.planEvents(batch)
	return answer{status: http.StatusAccepted, accepted: true, header: []headerLine{{"X-Message-Id", id}, {"X-Frame-Options", "DENY"}}}
}

// authorized tells whether the request carries the key as a bearer.
func (s *Sandbox) authorized(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && same(key, s.cfg.SendGridKey)
}

// readMail reads the whole body and decompresses it when it says so.
func readMail(r *http.Request) ([]byte, error) {
	body, err := readAtMost(r.Body)
	if err != nil || !strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		return body, err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return readAtMost(unpacked)
}

// readAtMost reads to the end, or fails with errTooLarge beyond maxMail.
func readAtMost(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxMail+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxMail {
		return nil, errTooLarge
	}
	return body, nil
}
