package sandbox

// mailRequest is the body of a send with every key that the provider knows
// (providers.md 2.1). What is only checked for its shape has no further use.
type mailRequest struct {
	From             *address          `json:"from"`
	Subject          string            `json:"subject"`
	Personalizations []personalization `json:"personalizations"`
	Content          []content         `json:"content"`
	Attachments      []attachment      `json:"attachments"`
	TemplateID       string            `json:"template_id"`
	Sections         map[string]string `json:"sections"`
	Headers          map[string]string `json:"headers"`
	Categories       []string          `json:"categories"`
	CustomArgs       map[string]string `json:"custom_args"`
	SendAt           int64             `json:"send_at"`
	BatchID          string            `json:"batch_id"`
	ASM              *asm              `json:"asm"`
	IPPoolName       *string           `json:"ip_pool_name"`
	MailSettings     mailSettings      `json:"mail_settings"`
	TrackingSettings trackingSettings  `json:"tracking_settings"`
	ReplyTo          *address          `json:"reply_to"`
	ReplyToList      []address         `json:"reply_to_list"`
}

// personalization is one envelope: whom the mail goes to, and what differs for them.
type personalization struct {
	To                  []address         `json:"to"`
	From                *address          `json:"from"`
	CC                  []address         `json:"cc"`
	BCC                 []address         `json:"bcc"`
	Subject             string            `json:"subject"`
	Headers             map[string]string `json:"headers"`
	Substitutions       map[string]string `json:"substitutions"`
	CustomArgs          map[string]string `json:"custom_args"`
	DynamicTemplateData map[string]any    `json:"dynamic_template_data"`
	Categories          []string          `json:"categories"`
	SendAt              int64             `json:"send_at"`
}

// address is a mailbox with an optional display name.
type address struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

// content is one part of the body.
type content struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// attachment is a file, its content in base64.
type attachment struct {
	Content     string `json:"content"`
	Type        string `json:"type"`
	Name        string `json:"name"`
	Filename    string `json:"filename"`
	Disposition string `json:"disposition"`
	ContentID   string `json:"content_id"`
}

// asm holds the unsubscribe groups.
type asm struct {
	GroupID         int64   `json:"group_id"`
	GroupsToDisplay []int64 `json:"groups_to_display"`
}

// mailSettings change how the provider treats the mail. Each setting has keys of
// its own; a key of another setting is as unknown as any.
type mailSettings struct {
	BCC                         bccSetting    `json:"bcc"`
	BypassListManagement        toggle        `json:"bypass_list_management"`
	BypassSpamManagement        toggle        `json:"bypass_spam_management"`
	BypassBounceManagement      toggle        `json:"bypass_bounce_management"`
	BypassUnsubscribeManagement toggle        `json:"bypass_unsubscribe_management"`
	Footer                      footerSetting `json:"footer"`
	SandboxMode                 toggle        `json:"sandbox_mode"`
	SpamCheck                   spamSetting   `json:"spam_check"`
}

// trackingSettings switch on what watches the reader; doorcode switches all off.
type trackingSettings struct {
	Click        clickSetting        `json:"click_tracking"`
	Open         openSetting         `json:"open_tracking"`
	Subscription subscriptionSetting `json:"subscription_tracking"`
	Analytics    analyticsSetting    `json:"ganalytics"`
}

// toggle is a setting that is on or off and no more.
type toggle struct {
	Enable bool `json:"enable"`
}

type bccSetting struct {
	Enable bool   `json:"enable"`
	Email  string `json:"email"`
}

type footerSetting struct {
	Enable bool   `json:"enable"`
	Text   string `json:"text"`
	HTML   string `json:"html"`
}

type spamSetting struct {
	Enable    bool   `json:"enable"`
	Threshold int64  `json:"threshold"`
	PostToURL string `json:"post_to_url"`
}

type clickSetting struct {
	Enable     bool `json:"enable"`
	EnableText bool `json:"enable_text"`
}

type openSetting struct {
	Enable          bool   `json:"enable"`
	SubstitutionTag string `json:"substitution_tag"`
}

type subscriptionSetting struct {
	Enable          bool   `json:"enable"`
	Text            string `json:"text"`
	HTML            string `json:"html"`
	SubstitutionTag string `json:"substitution_tag"`
}

type analyticsSetting struct {
	Enable   bool   `json:"enable"`
	Source   string `json:"utm_source"`
	Term     string `json:"utm_term"`
	Content  string `json:"utm_content"`
	Campaign string `json:"utm_campaign"`
	Medium   string `json:"utm_medium"`
}
