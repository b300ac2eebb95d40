"""Who asks only to preview or to scan: chats and mail filters do; browsers and programs that fetch do not."""

from __future__ import annotations

import time

from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.web import previewers
from filedropd.web.previewers import FETCHERS, LENGTH, WRONG, previewer

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
WEBKIT = "(KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 {WEBKIT}"
ANDROID = f"Mozilla/5.0 (Linux; Android 14; SM-S921B; wv) AppleWebKit/537.36 {WEBKIT}"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 {WEBKIT}"

#: As they call themselves, and what an owner is told.
PREVIEWERS = [
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slack"),
    ("Slack-ImgProxy (+https://api.slack.com/robots)", "Slack"),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Discord"),
    ("WhatsApp/2.24.6.77 A", "WhatsApp"),
    ("WhatsApp/2.2412.54 W", "WhatsApp"),
    ("WhatsApp/2", "Signal"),
    ("Signal-Desktop/7.20.0 Linux 6.1", "Signal"),
    ("TelegramBot (like TwitterBot)", "Telegram"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1"
        " Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "iMessage",
    ),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "Facebook"),
    ("meta-externalfetcher/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", "Facebook"),
    ("facebookexternalhit/1.1; kakaotalk-scrap/1.0; +https://devtalk.kakao.com/t/scrap/33984", "KakaoTalk"),
    ("facebookexternalhit/1.1;line-poker/1.0", "LINE"),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "Microsoft Teams"),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
        "Microsoft Teams",
    ),
    (f"{CHROME} SafeLinks", "Microsoft SafeLinks"),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
        "Microsoft SafeLinks",
    ),
    ("MicrosoftPreview/2.0; +https://aka.ms/MicrosoftPreview", "Microsoft"),
    ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Microsoft Office"),
    ("Microsoft Office Existence Discovery", "Microsoft Office"),
    ("Barracuda Sentinel (EE)", "Barracuda"),
    ("BarracudaCentral/1.0", "Barracuda"),
    ("Mozilla/5.0 (compatible; Proofpoint)", "Proofpoint"),
    ("Mimecast Ltd", "Mimecast"),
    ("Twitterbot/1.0", "Twitter"),
    ("Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)", "Bluesky"),
    (
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Jakarta Commons-HttpClient/4.3 +http://www.linkedin.com)",
        "LinkedIn",
    ),
    ("Mattermost-Bot/1.1", "Mattermost"),
    ("Synapse (bot; +https://github.com/matrix-org/synapse)", "Matrix"),
    ("Mozilla/5.0 (compatible; ZulipURLPreview/9.2; +https://zulip.example.com)", "Zulip"),
    ("GoogleMessages/20", "Google Messages"),
    ("Viber", "Viber"),
    ("Nextcloud Server Crawler", "Nextcloud"),
    ("Notion/1.0 (https://notion.so; team@makenotion.com)", "Notion"),
    ("Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)", "Reddit"),
    ("http.rb/5.2.0 (Mastodon/4.3.0; +https://mastodon.example/)", "Mastodon"),
    ("Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)", "Sogou"),
    # Others, called by what fits.
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot"),
    ("Mozilla/5.0 (compatible; KeybaseBot; +https://keybase.io)", "KeybaseBot"),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "AhrefsBot"),
    ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "yandex.com"),
    ("Iframely/1.3.1 (+https://iframely.com/docs/about) Atlassian", "Iframely"),
    ("AcmeLinkPreview/1.0", "AcmeLinkPreview"),
]

#: Programs with which people and scripts fetch files.
PROGRAMS = [
    "curl/8.5.0",
    "curl/7.21.0 (i386-redhat-linux-gnu) libcurl/7.21.0 NSS/3.12.10.0 zlib/1.2.5 libidn/1.18 libssh2/1.2.4",
    "Wget/1.24.5",
    "Wget/1.21.4 (linux-gnu)",
    "Wget2/2.1.0",
    "python-requests/2.32.3",
    "python-httpx/0.28.1",
    "Python-urllib/3.13",
    "python-urllib3/2.2.3",
    "Python/3.12 aiohttp/3.11.11",
    "Python-httplib2/0.22.0 (gzip)",
    "PycURL/7.45.3 libcurl/8.5.0 OpenSSL/3.0.13",
    "treq/24.9.1",
    "Scrapy/2.11.2 (+https://scrapy.org)",
    "Go-http-client/1.1",
    "Go-http-client/2.0",
    "okhttp/4.12.0",
    "Java/17.0.12",
    "Java-http-client/21.0.4",
    "Apache-HttpClient/5.3.1 (Java/21)",
    "Synapse-PT-HttpComponents-NIO",
    "ReactorNetty/1.1.22",
    "axios/1.7.7",
    "node",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
    "undici",
    "got (https://github.com/sindresorhus/got)",
    "Deno/1.46.3",
    "Bun/1.1.29",
    "libwww-perl/6.77",
    "HTTP-Tiny/0.088",
    "GuzzleHttp/7",
    "GuzzleHttp/6.5.5 curl/7.68.0 PHP/7.4.3",
    "Symfony HttpClient (Curl)",
    "Ruby",
    "Faraday v2.12.0",
    "rest-client/2.1.0 (linux x86_64) ruby/3.2.0p0",
    "reqwest/0.12.7",
    "ureq/2.10.1",
    "Dart/3.5 (dart:io)",
    "RestSharp/112.0.0.0",
    "Mozilla/4.0 (compatible; Synapse)",
    "Mozilla/3.0 (compatible; Indy Library)",
    "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240905.003)",
    "AndroidDownloadManager/14 (Linux; U; Android 14; SM-S921B Build/UP1A.231005.007)",
    "Files/1 CFNetwork/1496.0.7 Darwin/23.6.0",
    "aria2/1.37.0",
    "Axel/2.17.11",
    "HTTPie/3.2.4",
    "xh/0.22.2",
    "PostmanRuntime/7.42.0",
    "insomnia/10.0.0",
    "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.4249",
    "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.22631; en-US) PowerShell/7.4.5",
    "Microsoft BITS/7.8",
    "yt-dlp/2024.09.27",
    "VLC/3.0.20 LibVLC/3.0.20",
    "Lavf/60.16.100",
    "Kodi/21.1 (X11; Linux x86_64) Ubuntu/22.04 App_Bitness/64 Version/21.1-(21.1.0)-Git:20240818",
    "Transmission/4.0.6",
    "qBittorrent/4.6.7",
    "rclone/v1.68.1",
    "Dropbox/208.4.5824",
    "lftp/4.9.2",
    "Lynx/2.9.2 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/3.3.1",
    "w3m/0.5.3+git20230121",
    "Debian APT-HTTP/1.3 (2.6.1)",
    "pip/24.2",
    "git/2.46.0",
    "Zapier",
    "Make/production",
    "Mozilla/5.0 (compatible; Google-Apps-Script; beanserver; +https://script.google.com; id: x)",
    "ansible-httpget",
    "libcurl/8.5.0 r-curl/5.2.3 httr/1.4.7",
    "URL/Emacs Emacs/29.4 (X11; x86_64-pc-linux-gnu)",
    "",
]

#: Browsers, also those in apps, whose names have those of the apps in them.
BROWSERS = [
    CHROME,
    f"{CHROME} Edg/142.0.0.0",
    f"{CHROME} OPR/124.0.0.0",
    f"{CHROME} Vivaldi/7.6",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (Android 14; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
    f"{IPHONE} Version/18.6 Mobile/15E148 Safari/604.1",
    f"{IPHONE} CriOS/142.0.7444.46 Mobile/15E148 Safari/604.1",
    f"{IPHONE} GSA/395.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 8.1.0; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/97.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/128.4.1 like Chrome/128.0 Safari/537.36",
    f"{ANDROID} Version/4.0 Chrome/141.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/484.0.0.63.83;]",
    f"{ANDROID} Version/4.0 Chrome/141.0 Mobile Safari/537.36 MetaIAB Facebook",
    f"{ANDROID} Version/4.0 Chrome/141.0 Mobile Safari/537.36 [Pinterest/Android]",
    f"{ANDROID} Version/4.0 Chrome/141.0 Mobile Safari/537.36 Line/14.15.0/IAB",
    f"{ANDROID} Chrome/141.0 Mobile Safari/537.36 Viber/23.5.0.0",
    f"{ANDROID} Chrome/120.0 Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/5.31.6",
    f"{IPHONE} Mobile/21G80 Instagram 350.0.0.27.93 (iPhone14,5; iOS 17_6; en_US; en; scale=3.00; 1170x2532; 644237028)",
    f"{IPHONE} Mobile/15E148 Twitter for iPhone/10.60",
    f"{IPHONE} Mobile/15E148 [LinkedInApp]/9.30.1516",
    f"{IPHONE} Mobile/15E148 Snapchat/13.7.0.42 (like Safari/8619.1.10.11.15, panda)",
    f"{MAC} Slack/4.40.126 Chrome/128.0 Electron/32.1.0 Safari/537.36",
    f"{MAC} discord/1.0.9163 Chrome/124.0.6367.243 Electron/30.2.0 Safari/537.36",
    f"{MAC} Teams/1.6.00.4472 Chrome/85.0.4183.121 Electron/10.4.7 Safari/537.36",
    f"{MAC} Notion/3.14.0 Chrome/128.0 Electron/32.1.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18",
    # Driven by a program: a browser all the same.
    f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 {WEBKIT} HeadlessChrome/142.0.0.0 Safari/537.36",
]


class PreviewerTests(SynchronousTestCase):
    """The guess by a name."""

    def test_previewers(self):
        """Who previews or scans is called what an owner knows."""
        for agent, name in PREVIEWERS:
            self.assertEqual(name, previewer(agent), agent)

    def test_programs(self):
        """A program that fetches gets the file."""
        for agent in PROGRAMS:
            self.assertIsNone(previewer(agent), agent)

    def test_browsers(self):
        """A person's browser is no previewer."""
        for agent in BROWSERS:
            self.assertIsNone(previewer(agent), agent)

    def test_nobody(self):
        """Who gives no name is a recipient."""
        self.assertIsNone(previewer(None))

    def test_the_list(self):
        """Everybody on the list but those who fetch is recognised, by a name that can be read."""
        for entry in CRAWLER_USER_AGENTS_DATA:
            if entry["pattern"] in WRONG or not FETCHERS.isdisjoint(entry["tags"]):
                continue
            for agent in entry["instances"]:
                if len(agent) <= LENGTH:
                    self.assertRegex(previewer(agent) or "", r"\A[ -:=?-~]{1,40}\Z", (entry["pattern"], agent))

    def test_left_out(self):
        """What is left out of the list is on it: an exception that is out of date shows."""
        self.assertEqual(set(), WRONG - {entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA})

    def test_long(self):
        """Of a long name only the beginning is looked at."""
        self.assertEqual("Slack", previewer("x" * (LENGTH - 8) + "Slackbot"))
        self.assertIsNone(previewer("x" * LENGTH + "Slackbot"))

    @given(st.text(max_size=LENGTH) | st.sampled_from(PREVIEWERS).map(lambda each: each[0] + "\udcff\x00é<"))
    def test_anything(self, agent: str):
        """Whatever is sent, an owner is told printable ASCII, short and without markup, or nothing."""
        name = previewer(agent)
        if name is not None:
            self.assertRegex(name, r"\A[ -:=?-~]{1,40}\Z")

    def test_fast(self):
        """A name costs at most some milliseconds the first time, however it is made, and next to nothing then."""
        for agent in [CHROME, "x" * 8000, "Spider " * 1000, "Mozilla/5.0 (S" * 600, "bot" * 3000, "\udcff" * 8000]:
            began = time.thread_time()
            previewer(agent)
            first = time.thread_time() - began
            for _ in range(100):
                previewer(agent)
            self.assertLess(first, 0.05, agent[:20])
            self.assertLess(time.thread_time() - began - first, 0.05, agent[:20])

    def test_bounded(self):
        """Names without number are not all remembered."""
        for number in range(previewers.REMEMBERED + 10):
            previewer(f"curl/{number}")
        self.assertLessEqual(previewers._recognised.cache_info().currsize, previewers.REMEMBERED)
