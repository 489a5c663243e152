// Programs and scripts that pretend to be something else.

private rule is_program {
  condition:
    (uint16(0) == 0x5A4D and filesize > 96 and uint32(0x3C) < filesize and uint32(uint32(0x3C)) == 0x00004550)
    or uint32(0) == 0x464C457F
    or uint32be(0) == 0xFEEDFACE or uint32be(0) == 0xFEEDFACF
    or uint32be(0) == 0xCEFAEDFE or uint32be(0) == 0xCFFAEDFE
}

rule program_with_harmless_name {
  meta:
    id = "LT-Y-0101"
    description = "a program named like a document, picture or text"
    description_vi = "chương trình mang tên như tài liệu, ảnh hoặc văn bản"
    severity = "suspicious"
    score = 12
  condition:
    is_program and (
      file_name iendswith ".pdf" or file_name iendswith ".doc" or file_name iendswith ".docx"
      or file_name iendswith ".xls" or file_name iendswith ".xlsx" or file_name iendswith ".ppt"
      or file_name iendswith ".pptx" or file_name iendswith ".jpg" or file_name iendswith ".jpeg"
      or file_name iendswith ".png" or file_name iendswith ".gif" or file_name iendswith ".txt"
      or file_name iendswith ".csv" or file_name iendswith ".htm" or file_name iendswith ".html"
      or file_name iendswith ".zip" or file_name iendswith ".rar" or file_name iendswith ".mp4"
    )
}

rule program {
  meta:
    id = "LT-Y-0102"
    description = "a Windows, Linux or macOS program"
    description_vi = "chương trình Windows, Linux hoặc macOS"
    severity = "suspicious"
    score = 6
  condition:
    is_program
}

rule program_behind_other_octets {
  meta:
    id = "LT-Y-0103"
    description = "a Windows program inside a picture, text or PDF"
    description_vi = "chương trình Windows nằm trong ảnh, văn bản hoặc PDF"
    severity = "suspicious"
    score = 8
  strings:
    $stub = "This program cannot be run in DOS mode"
  condition:
    $stub and not is_program
    and (file_type startswith "image/" or file_type startswith "text/" or file_type == "application/pdf")
}

rule program_as_base64 {
  meta:
    id = "LT-Y-0104"
    description = "a Windows program written as base64 inside a script or page"
    description_vi = "chương trình Windows viết dạng base64 trong kịch bản hoặc trang web"
    severity = "suspicious"
    score = 8
  strings:
    $stub = "This program cannot be run in DOS mode" base64 base64wide
  condition:
    $stub and file_type startswith "text/"
}
